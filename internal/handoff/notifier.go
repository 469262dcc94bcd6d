package handoff

import "time"

// Mode is how the writer notifies callers that their writes are done.
type Mode int

const (
	// AtOnce means that the writer notifies all callers and stays awake.
	AtOnce Mode = iota

	// Asleep means that the writer notifies all callers and sleeps until one of
	// the last callers wakes it.
	Asleep

	// InTurn means that the writer notifies the first caller and sleeps. Each
	// caller relays the answer to the next one before it goes on, and the last
	// caller wakes the writer.
	InTurn
)

// Bounds on the modes.
const (
	// minCallers is the number of callers below which the writer never sleeps.
	// So few callers gain nothing, because they wait for nothing but the disk.
	minCallers = 32

	// maxInTurn is the number of callers up to which they relay the answer.
	// Waking a second processor takes some 30 µs, which pays off for more.
	maxInTurn = 160

	// maxAsleep is the number of callers up to which the writer sleeps. Go
	// keeps 256 goroutines with the processor that made them ready. The rest of
	// a much larger group waits for any processor, and then one of the callers
	// that were notified last is no longer one of the last to run.
	maxAsleep = 384

	// Waker is the number of callers behind the one that wakes a writer that is
	// Asleep. Go runs the very last caller first, and the others in the order
	// in which they became ready.
	Waker = 8

	// turnTime is how long the writer may sleep for each caller. It is several
	// times what a caller needs that does nothing but write again. The whole
	// sleep may take as long as a sync.
	turnTime = 2 * time.Microsecond
)

// Notifier chooses the mode in which the writer notifies the callers of a
// group.
//
// InTurn keeps all of them on one processor: the scheduler runs a caller, the
// next one and finally the writer, each as soon as the one before it sleeps. In
// the other modes each answer makes a caller ready, and an idle processor takes
// that caller over. Its stack, command and channel then move from processor to
// processor with every group. While callers are few and do nothing but write,
// this costs more than the second processor is worth.
//
// With more callers it pays to use both processors. A writer that stays awake
// to see which callers have returned keeps one processor from helping, because
// the writer is what an idle processor finds first. So the writer sleeps.
//
// Callers that do more than write should run on all processors at once, and the
// writer should not wait for the last of them. So a mode in which the writer
// slept too long is retried with backoff.
//
// A Notifier is owned by the writer. The zero value is ready.
type Notifier struct {
	asleep, inTurn backoff
	synced         time.Duration // of the group that was notified last
}

// Choose returns the mode for a group with this many callers that took synced
// to write and sync. If the writer sleeps, the caller must call
// [Notifier.Slept].
func (n *Notifier) Choose(callers int, synced time.Duration) Mode {
	mode := InTurn
	if callers > maxInTurn {
		mode = Asleep
	}
	n.synced = synced
	if callers < minCallers || callers > maxAsleep || !fitsIntoSync(callers, synced) || !n.backoff(mode).try() {
		return AtOnce
	}
	return mode
}

// Slept records how long the writer slept after it notified this many callers
// in this mode.
func (n *Notifier) Slept(mode Mode, callers int, slept time.Duration) {
	if b := n.backoff(mode); slept <= min(n.synced, time.Duration(callers)*turnTime) {
		b.succeeded()
	} else {
		b.failed(int(slept / n.synced))
	}
}

func (n *Notifier) backoff(mode Mode) *backoff {
	if mode == Asleep {
		return &n.asleep
	}
	return &n.inTurn
}
