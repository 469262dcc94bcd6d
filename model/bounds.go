package main

import (
	"fmt"
	"slices"
	"strings"
)

// bounds say how often each thing may happen in a run. The search is exhaustive
// within them, and says nothing about what lies beyond.
type bounds struct {
	sessions      int // that may serve; the last Opens of a run are not counted
	groups        int // written
	groupPieces   int // of entries in a group, at most; 0 means 1
	segmentPieces int // length of a segment
	rotations     int // before the segment is full
	flushes       int // background fsyncs of a store without SyncWrites
	snapshots     int // while serving
	compactions   int // Opens that write a snapshot

	crashes      int // deaths of the process
	powerCuts    int
	syncFailures int
	lostWrites   int // times that the kernel loses writes and reports it to nobody
	evictions    int // times that the cache drops clean pages
	damages      int // damaged pieces: at most one, before the last Opens
	copies       int // times that all files are replaced by copies that are not synced
	forgeries    int // groups with a value that has the bytes of an END

	// What the present store does not do.
	logCloses   int   // Closes that keep the log
	replaces    int   // Replaces of the whole content
	cursors     int   // handed out
	viewCursors int   // handed out for a commit that is visible and not yet durable
	clockSteps  int   // commits for which the clock has not moved on
	keep        []int // values of KeepLogBytes, in segments; none: nothing is kept
}

// keepAll is a value of KeepLogBytes that no log reaches.
const keepAll = 99

// countNames are the names of what [bounds.counts] returns.
var countNames = [...]string{
	"sessions", "groups", "pieces/group", "pieces/segment", "rotations", "flushes", "snapshots",
	"crashes", "power cuts", "sync failures", "lost writes", "evictions", "damages", "copies", "forgeries",
	"log closes", "compactions", "replaces", "cursors", "view cursors", "clock steps",
}

func (b *bounds) counts() [len(countNames)]*int {
	return [...]*int{
		&b.sessions, &b.groups, &b.groupPieces, &b.segmentPieces, &b.rotations, &b.flushes, &b.snapshots,
		&b.crashes, &b.powerCuts, &b.syncFailures, &b.lostWrites, &b.evictions, &b.damages, &b.copies, &b.forgeries,
		&b.logCloses, &b.compactions, &b.replaces, &b.cursors, &b.viewCursors, &b.clockSteps,
	}
}

// String names the bounds that are not 0.
func (b bounds) String() string {
	var parts []string
	for i, count := range b.counts() {
		if *count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", *count, countNames[i]))
		}
	}
	if len(b.keep) > 0 {
		parts = append(parts, fmt.Sprintf("keep %d", b.keep))
	}
	return strings.Join(parts, ", ")
}

// smaller returns all bounds that are smaller in one respect.
func (b bounds) smaller() []bounds {
	var all []bounds
	for i := range countNames {
		s := b
		*s.counts()[i]--
		if *s.counts()[i] >= 0 && s.segmentPieces >= 3+max(s.groupPieces, 1) { // a group and END have to fit
			all = append(all, s)
		}
	}
	for i := range b.keep {
		s := b
		s.keep = slices.Delete(slices.Clone(b.keep), i, i+1)
		all = append(all, s)
	}
	return all
}

// appendKey appends what may still happen.
func (b *bounds) appendKey(key []byte) []byte {
	for _, count := range b.counts() {
		key = append(key, byte(*count))
	}
	return key
}
