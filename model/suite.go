package main

import "slices"

// suite is what is checked of a protocol.
type suite struct {
	small        []bounds // to be searched in seconds
	full         []bounds // to be searched in minutes
	wide         bounds   // to be walked at random
	mistakes     []variant
	alternatives []variant
}

// variants are all mistakes and alternatives.
func (s *suite) variants() []variant { return slices.Concat(s.mistakes, s.alternatives) }

// present is the suite of the protocol that the store follows.
var present = suite{
	small: []bounds{
		{sessions: 2, groups: 3, segmentPieces: 8, rotations: 1, flushes: 1, crashes: 2, powerCuts: 2},
		{
			sessions: 2, groups: 2, segmentPieces: 6, rotations: 1, flushes: 1,
			crashes: 1, powerCuts: 2, syncFailures: 1,
		},
		{sessions: 2, groups: 1, segmentPieces: 4, snapshots: 1, crashes: 2, powerCuts: 2, syncFailures: 1},
		{
			sessions: 2, groups: 2, segmentPieces: 6, rotations: 1, snapshots: 1,
			crashes: 1, powerCuts: 1, syncFailures: 1,
		},
		{
			sessions: 3, groups: 2, segmentPieces: 6, rotations: 1, flushes: 1, snapshots: 1,
			crashes: 1, powerCuts: 1, damages: 1,
		},
		{
			sessions: 3, groups: 1, segmentPieces: 4,
			crashes: 2, powerCuts: 2, syncFailures: 1, lostWrites: 1, evictions: 1,
		},
		{
			sessions: 2, groups: 2, groupPieces: 2, segmentPieces: 6,
			crashes: 1, powerCuts: 1, copies: 1, forgeries: 1,
		},
		{
			sessions: 2, groups: 1, segmentPieces: 4,
			crashes: 1, powerCuts: 1, syncFailures: 1, evictions: 1, compactions: 2,
		},
	},
	full: []bounds{
		{
			sessions: 2, groups: 3, segmentPieces: 8, rotations: 1, flushes: 1,
			crashes: 2, powerCuts: 2, syncFailures: 1,
		},
		{
			sessions: 2, groups: 2, groupPieces: 2, segmentPieces: 7, rotations: 1, flushes: 1,
			crashes: 1, powerCuts: 2, syncFailures: 2,
		},
		{
			sessions: 3, groups: 2, segmentPieces: 6,
			crashes: 1, powerCuts: 2, syncFailures: 1, lostWrites: 1, evictions: 1,
		},
		{
			sessions: 3, groups: 2, segmentPieces: 6, rotations: 1, snapshots: 1,
			crashes: 1, powerCuts: 2, syncFailures: 1,
		},
		{
			sessions: 3, groups: 3, segmentPieces: 6, rotations: 1, flushes: 1, snapshots: 1,
			crashes: 2, powerCuts: 1, damages: 1,
		},
		{sessions: 3, groups: 2, segmentPieces: 4, snapshots: 1, crashes: 3, powerCuts: 3},
		{
			sessions: 3, groups: 2, groupPieces: 2, segmentPieces: 6, snapshots: 1,
			crashes: 2, powerCuts: 1, copies: 1, forgeries: 1,
		},
		{
			sessions: 3, groups: 2, segmentPieces: 6, rotations: 1,
			crashes: 1, powerCuts: 1, syncFailures: 1, compactions: 2,
		},
	},
	wide:         widePresent,
	mistakes:     mistakes,
	alternatives: alternatives,
}

// next is the suite of the design of what comes.
var next = suite{
	small: []bounds{
		{
			sessions: 3, groups: 2, segmentPieces: 6, rotations: 1,
			crashes: 1, powerCuts: 1, damages: 1, logCloses: 2,
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, flushes: 1,
			crashes: 1, powerCuts: 1, syncFailures: 1, logCloses: 2,
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6,
			crashes: 1, powerCuts: 1, logCloses: 1, compactions: 1, cursors: 1, keep: []int{0, keepAll},
		},
		{sessions: 2, groups: 2, segmentPieces: 6, crashes: 1, powerCuts: 1, logCloses: 1, replaces: 1},
		{
			sessions: 2, groups: 1, segmentPieces: 4,
			crashes: 1, powerCuts: 1, syncFailures: 1, replaces: 1, cursors: 1,
		},
		{
			sessions: 3, groups: 3, segmentPieces: 6, snapshots: 1,
			powerCuts: 1, cursors: 2, keep: []int{0, keepAll},
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, snapshots: 1,
			crashes: 1, powerCuts: 1, cursors: 1, viewCursors: 1, clockSteps: 1, keep: []int{1, keepAll},
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6,
			crashes: 1, powerCuts: 1, replaces: 1, cursors: 1, keep: []int{keepAll},
		},
	},
	full: []bounds{
		{
			sessions: 3, groups: 3, segmentPieces: 6, rotations: 1,
			crashes: 1, powerCuts: 1, damages: 1, logCloses: 2,
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, rotations: 1,
			crashes: 1, powerCuts: 2, syncFailures: 1, logCloses: 2,
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, crashes: 1, powerCuts: 1, syncFailures: 1,
			logCloses: 1, compactions: 1, cursors: 1, keep: []int{0, keepAll},
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, crashes: 1, powerCuts: 1, syncFailures: 1, damages: 1,
			logCloses: 1, replaces: 1,
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, snapshots: 1,
			crashes: 2, powerCuts: 1, cursors: 1, keep: []int{1, keepAll},
		},
		{
			sessions: 2, groups: 2, segmentPieces: 6, snapshots: 1, crashes: 1, powerCuts: 1, syncFailures: 1,
			cursors: 1, viewCursors: 1, clockSteps: 1, keep: []int{1, keepAll},
		},
		{
			sessions: 3, groups: 2, segmentPieces: 6, snapshots: 1, crashes: 1, powerCuts: 1,
			replaces: 1, cursors: 2, keep: []int{0, keepAll},
		},
	},
	wide:         wideNext(),
	mistakes:     nextMistakes,
	alternatives: nextAlternatives,
}

// widePresent is too wide for a search.
var widePresent = bounds{
	sessions: 5, groups: 6, groupPieces: 2, segmentPieces: 11, rotations: 2, flushes: 2, snapshots: 2,
	compactions: 2, crashes: 3, powerCuts: 3, syncFailures: 2,
	lostWrites: 1, evictions: 1, damages: 1, copies: 1, forgeries: 1,
}

// wideNext is widePresent with what comes.
func wideNext() bounds {
	b := widePresent
	b.logCloses, b.replaces = 3, 2
	b.cursors, b.viewCursors, b.clockSteps = 5, 2, 3
	b.keep = []int{0, 1, keepAll, keepAll}
	return b
}
