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

	// turnTime is what a caller may need, on average, until it is the next one's turn: twice what it does if it has nothing else to do than write again.
	turnTime = time.Microsecond
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
	patience patience
}

// Choose returns how to tell so many callers, where a group takes so long to write and sync. If the writer sleeps, [Teller.Slept] is to follow.
func (t *Teller) Choose(callers int, synced time.Duration) Way {
	switch {
	case callers < minTold || callers > maxAsleep || !soonBack(callers, synced) || !t.patience.try():
		return AtOnce
	case callers > maxInTurn:
		return Asleep
	}
	return InTurn
}

// Slept says how long the writer slept when it had told so many callers.
func (t *Teller) Slept(callers int, slept time.Duration) {
	t.patience.learn(slept <= time.Duration(callers)*turnTime)
}
