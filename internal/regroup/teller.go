package regroup

import "time"

// Way is how callers are told that their writes are done.
type Way int

const (
	// AtOnce: the writer tells all callers, and stays awake.
	AtOnce Way = iota

	// Asleep: the writer tells all callers, and sleeps until one of the last wakes it.
	Asleep

	// InTurn: the writer tells the first caller, and sleeps. Each caller tells the next before it goes on, and the last one wakes the writer.
	InTurn
)

// Bounds on the ways.
const (
	// Fewer callers than minTold gain nothing, since the disk is all they wait for.
	minTold = 32

	// More callers than maxInTurn are worth waking a second processor up for, which takes some 30 µs.
	maxInTurn = 160

	// Many more than the 256 whom Go keeps with the processor that has made them ready gain nothing: the rest of them waits for any processor,
	// and one of the last to be told is no longer one of the last to run.
	maxAsleep = 384

	// Waker is which caller wakes the writer that is Asleep: so many before the last. Go runs the very last one first, and the others in the order in which
	// they were made ready.
	Waker = 8

	// turnTime is how long the writer may sleep for each caller: some times as long as callers need who have nothing else to do than write again. All of it
	// may take as long as a sync.
	turnTime = 2 * time.Microsecond
)

// Teller decides how callers are told.
//
// In turn, the Go scheduler runs a caller, the next one and at last the writer on one processor, each as soon as the one before sleeps. Else every
// answer makes somebody ready whom an idle processor takes over: what a caller has, its stack, its command and its channel, goes from processor to
// processor with every group, which costs more than the second processor is worth while callers are not many and only write.
//
// Of more callers, both processors take their part. A writer that stays awake to see who is back keeps one of them from that: it is what an
// idle processor finds first.
//
// If callers do more than write, they had better run on all processors at once, and their writer not wait for the last; so a way that
// takes long is seldom tried again.
//
// A Teller is the writer's alone. The zero value is ready.
type Teller struct {
	asleep, inTurn patience
	synced         time.Duration // of the group told last
}

// Choose returns how to tell so many callers, where a group takes so long to write and sync. If the writer sleeps, [Teller.Slept] is to follow.
func (t *Teller) Choose(callers int, synced time.Duration) Way {
	way := InTurn
	if callers > maxInTurn {
		way = Asleep
	}
	t.synced = synced
	if callers < minTold || callers > maxAsleep || !soonBack(callers, synced) || !t.patience(way).try() {
		return AtOnce
	}
	return way
}

// Slept says how long the writer slept when it had told so many callers in this way.
func (t *Teller) Slept(way Way, callers int, slept time.Duration) {
	if p := t.patience(way); slept <= min(t.synced, time.Duration(callers)*turnTime) {
		p.good()
	} else {
		p.vain(int(slept / t.synced))
	}
}

func (t *Teller) patience(way Way) *patience {
	if way == Asleep {
		return &t.asleep
	}
	return &t.inTurn
}
