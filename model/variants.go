package main

// A model that cannot fail proves nothing. So each mistake below is planted in
// the protocol, and the search has to find a counterexample. Its bounds are the
// smallest ones: if any of them is lowered by one, no counterexample is left.
//
// Alternatives are other rules within which the search finds nothing either. A
// reader of the protocol will ask for some of them. Others leave out one of
// several safeguards against the same mistake, or belong to the mistakes as
// their controls.

// variant is a protocol with other rules.
type variant struct {
	name   string
	rules  rules
	bounds bounds
	breaks fault // none for an alternative
}

// Bounds of alternatives: of those to recovery and to END, and of those to
// safeguards of history and of Replace.
var (
	repairBounds = bounds{
		sessions: 2, groups: 2, segmentPieces: 6, rotations: 1, flushes: 1,
		crashes: 1, powerCuts: 1, syncFailures: 1,
	}
	tornBounds = bounds{
		sessions: 2, groups: 2, segmentPieces: 4, snapshots: 1,
		crashes: 1, powerCuts: 1, damages: 1, cursors: 1, keep: []int{keepAll},
	}
	gapBounds = bounds{
		sessions: 2, groups: 2, segmentPieces: 4, snapshots: 1,
		crashes: 1, powerCuts: 1, cursors: 1, keep: []int{0, 1, keepAll},
	}
	replaceBounds = bounds{
		sessions: 2, groups: 2, segmentPieces: 4, snapshots: 1,
		crashes: 1, powerCuts: 1, replaces: 1, cursors: 1, keep: []int{keepAll},
	}
)

// mistakes are those of the present protocol.
var mistakes = []variant{
	{
		"D of a COMMIT is the last group written",
		rules{commitVouchesForWritten: true},
		bounds{sessions: 1, groups: 2, segmentPieces: 6, syncFailures: 1, evictions: 1},
		falseAlarm,
	},
	{
		"END without D vouches for all groups before it",
		rules{endVouchesForAll: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1},
		falseAlarm,
	},
	{
		"END without D, never written with a group",
		rules{endVouchesForAll: true, endNeverRides: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1},
		falseAlarm,
	},
	{
		"checksum of END is not seeded",
		rules{endUnseeded: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1, forgeries: 1},
		falseAlarm,
	},
	{
		"next segment is named before END is durable",
		rules{nextNamedEarly: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, snapshots: 1, syncFailures: 1},
		falseAlarm,
	},
	{
		"next segment is named before END is durable, and END is optional",
		rules{nextNamedEarly: true, endOptional: true, countsOnlyLosses: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, snapshots: 1, syncFailures: 1, damages: 1},
		undetected,
	},
	{
		"END is optional",
		rules{endOptional: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, snapshots: 1, syncFailures: 1, damages: 1},
		undetected,
	},
	{
		"END is optional, and only losses count",
		rules{endOptional: true, countsOnlyLosses: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, snapshots: 1, syncFailures: 1, damages: 1},
		undetected,
	},
	{
		"junk behind END is damage",
		rules{junkIsDamage: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 5, snapshots: 1, syncFailures: 1, damages: 1},
		overcautious,
	},
	{
		"callers are answered before the fsync",
		rules{answersEarly: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1},
		lost,
	},
	{
		"failed fsync is retried",
		rules{retriesSync: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 2, evictions: 1},
		lost,
	},
	{
		"segment is named before it is synced",
		rules{segmentUnsynced: true},
		bounds{segmentPieces: 4},
		falseAlarm,
	},
	{
		"snapshot is named before it is synced",
		rules{snapshotUnsynced: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, lostWrites: 1},
		falseAlarm,
	},
	{
		"snapshot removes the log before its name is durable",
		rules{snapshotRemovesEarly: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, snapshots: 1, powerCuts: 1, syncFailures: 2},
		falseAlarm,
	},
	{
		"Open does not sync the directory above",
		rules{parentUnsynced: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4},
		lost,
	},
	{
		"Open does not sync what it has loaded",
		rules{loadedUnsynced: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, copies: 1},
		falseAlarm,
	},
	{
		"Open syncs the names only after its own segment's",
		rules{namesUnsynced: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, powerCuts: 1, syncFailures: 2},
		falseAlarm,
	},
	{
		"Open removes what the snapshot covers before the snapshot's name is durable",
		rules{makesRoomEarly: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, crashes: 2, powerCuts: 1},
		lost,
	},
	{
		"Open copies a second reading, and does not compare it",
		rules{copiesUncompared: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1},
		falseAlarm,
	},
	{
		"Open serves and copies a second reading, and does not compare it",
		rules{servesUncompared: true, copiesUncompared: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1},
		falseAlarm,
	},
	{
		"compaction takes the number of the last segment",
		rules{compactsOverLog: true},
		bounds{sessions: 2, groups: 1, segmentPieces: 4, crashes: 1, compactions: 1},
		falseAlarm,
	},
	{
		"compaction removes the log before its name is durable",
		rules{compactRemovesEarly: true},
		bounds{sessions: 2, groups: 1, segmentPieces: 4, crashes: 1, powerCuts: 1, syncFailures: 1, compactions: 1},
		lost,
	},
	{
		"Open trusts the END of the last segment",
		rules{trustsEnd: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1},
		falseAlarm,
	},
	{
		"failed fsync of the directory forgets names",
		rules{namesForgotten: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1},
		notOnDisk,
	},
	{
		"failed fsync of the directory forgets names, Open writes all again",
		rules{namesForgotten: true, relinks: true},
		bounds{sessions: 1, groups: 2, segmentPieces: 4, snapshots: 1, rotations: 1, powerCuts: 1, syncFailures: 1},
		falseAlarm,
	},
	{
		"Open repairs in place",
		rules{rewritesInPlace: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1},
		notOnDisk,
	},
	{
		"Open repairs in place, but not the groups",
		rules{rewritesInPlace: true, blocksRecover: true, keepsGroups: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1},
		notOnDisk,
	},
	{
		"Open repairs in place, but not END",
		rules{rewritesInPlace: true, blocksRecover: true, keepsEnd: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1},
		falseAlarm,
	},
	{
		"Open repairs in place, but not END, which is proof",
		rules{rewritesInPlace: true, blocksRecover: true, keepsEnd: true, endIsProof: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1},
		falseAlarm,
	},
	{
		"Open repairs in place, but not zeros",
		rules{rewritesInPlace: true, blocksRecover: true, keepsZeros: true},
		bounds{sessions: 1, groups: 2, groupPieces: 2, segmentPieces: 7, powerCuts: 1, syncFailures: 2},
		notOnDisk,
	},
	{
		"Open repairs in place, but not zeros, and junk is damage",
		rules{rewritesInPlace: true, blocksRecover: true, keepsZeros: true, junkIsDamage: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 5, syncFailures: 2, damages: 1},
		falseAlarm,
	},
	{
		"Open repairs in place, from a second reading",
		rules{rewritesInPlace: true, blocksRecover: true, copiesUncompared: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, evictions: 1},
		falseAlarm,
	},
	{
		"Open repairs in place, END without D with the groups",
		rules{
			rewritesInPlace: true, blocksRecover: true, endWithRewrites: true, endVouchesForAll: true,
			endNeverRides: true, endAfterSync: true,
		},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, powerCuts: 1, syncFailures: 2},
		falseAlarm,
	},
}

// alternatives are those to the present protocol.
var alternatives = []variant{
	{
		"Open serves a second reading uncompared, and compares its copies",
		rules{servesUncompared: true},
		bounds{
			sessions: 2, groups: 2, segmentPieces: 6, rotations: 1, flushes: 1,
			crashes: 1, powerCuts: 1, syncFailures: 1, evictions: 1,
		},
		none,
	},
	{
		"END is never written with a group",
		rules{endNeverRides: true},
		repairBounds,
		none,
	},
	{
		"END without D, never written with a group, behind a sync",
		rules{endVouchesForAll: true, endNeverRides: true, endAfterSync: true},
		repairBounds,
		none,
	},
	{
		"END is proof",
		rules{endIsProof: true},
		repairBounds,
		none,
	},
	{
		"failed fsync of the directory forgets names, Open writes all again, snapshots stop",
		rules{namesForgotten: true, relinks: true, snapshotStops: true},
		repairBounds,
		none,
	},
	{
		"Open repairs in place, where blocks recover",
		rules{rewritesInPlace: true, blocksRecover: true},
		repairBounds,
		none,
	},
	{
		"Open repairs in place, where blocks recover, END with the groups",
		rules{rewritesInPlace: true, blocksRecover: true, endWithRewrites: true},
		repairBounds,
		none,
	},
	{
		"Open repairs in place, where blocks recover, END without D",
		rules{
			rewritesInPlace: true, blocksRecover: true, endVouchesForAll: true, endNeverRides: true,
			endAfterSync: true,
		},
		repairBounds,
		none,
	},
}

// nextMistakes are those of what comes.
var nextMistakes = []variant{
	{
		"Close keeps the log: END before the sync",
		rules{logCloseEndLags: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, logCloses: 1, damages: 1},
		undetected,
	},
	{
		"Close keeps the log: no END",
		rules{logCloseWithoutEnd: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, logCloses: 1, damages: 1},
		undetected,
	},
	{
		"Close keeps the log: an empty segment goes",
		rules{logCloseRemovesEmpty: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, rotations: 1, logCloses: 1, damages: 1},
		undetected,
	},
	{
		"compaction comes in place of the repair",
		rules{compactsUnrepaired: true},
		bounds{
			sessions: 2, groups: 2, segmentPieces: 4,
			syncFailures: 1, compactions: 1, cursors: 1, keep: []int{keepAll},
		},
		cursorLost,
	},
	{
		"Replace keeps the store id",
		rules{replaceKeepsStore: true},
		bounds{sessions: 1, segmentPieces: 4, replaces: 1, cursors: 1},
		cursorInvents,
	},
	{
		"Replace takes the number of an empty segment",
		rules{replaceReusesNumber: true},
		bounds{sessions: 1, segmentPieces: 4, syncFailures: 1, replaces: 1},
		falseAlarm,
	},
	{
		"Replace names the next segment first",
		rules{replaceNamesSegmentFirst: true},
		bounds{sessions: 1, segmentPieces: 4, syncFailures: 1, replaces: 1},
		falseAlarm,
	},
	{
		"Replace fails, and the next group follows END",
		rules{writesBehindEnd: true},
		bounds{sessions: 1, groups: 2, segmentPieces: 7, crashes: 1, syncFailures: 1, replaces: 1},
		lost,
	},
	{
		"Replace fails behind its rename, and the old state goes on",
		rules{replaceGoesOn: true},
		bounds{sessions: 1, segmentPieces: 4, syncFailures: 1, replaces: 1},
		notOnDisk,
	},
	{
		"Replace removes old files before its name is durable",
		rules{replaceRemovesEarly: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, powerCuts: 1, syncFailures: 1, replaces: 1},
		lost,
	},
	{
		"Replace keeps the old segments as history",
		rules{replaceKeepsHistory: true, readsOtherStores: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, replaces: 1, keep: []int{keepAll}},
		wrongHistory,
	},
	{
		"Replace names the snapshot before it is synced",
		rules{replaceUnsynced: true},
		bounds{sessions: 1, segmentPieces: 4, syncFailures: 1, replaces: 1},
		falseAlarm,
	},
	{
		"cursors of what is visible",
		rules{cursorsOfVisible: true},
		bounds{
			sessions: 1, groups: 1, segmentPieces: 4,
			powerCuts: 1, syncFailures: 1, cursors: 1, keep: []int{keepAll},
		},
		cursorLost,
	},
	{
		"cursor between two commits is resumed",
		rules{acceptsBetween: true},
		bounds{sessions: 2, groups: 2, segmentPieces: 4, powerCuts: 1, syncFailures: 1, cursors: 1, viewCursors: 1},
		cursorInvents,
	},
	{
		"cursor below the history is resumed at its edge",
		rules{guessesEdge: true},
		bounds{sessions: 1, groups: 2, segmentPieces: 4, cursors: 1, keep: []int{1}},
		cursorInvents,
	},
	{
		"history of another store is read",
		rules{readsOtherStores: true},
		bounds{sessions: 1, groups: 1, segmentPieces: 4, syncFailures: 1, replaces: 1, keep: []int{keepAll}},
		wrongHistory,
	},
	{
		"history is read to the last whole group, numbers are not compared",
		rules{readsTornHistory: true, comparesNoNumbers: true},
		bounds{sessions: 1, groups: 2, segmentPieces: 4, damages: 1, keep: []int{keepAll}},
		wrongHistory,
	},
	{
		"history is kept and read across gaps, numbers are not compared",
		rules{keepsBelowGaps: true, skipsGaps: true, comparesNoNumbers: true},
		bounds{sessions: 1, groups: 2, segmentPieces: 4, crashes: 1, powerCuts: 1, keep: []int{0, keepAll}},
		wrongHistory,
	},
}

// nextAlternatives are those to what comes. All but the last two leave
// out one or two of several safeguards; to leave out all of them is a mistake.
var nextAlternatives = []variant{
	{
		"history is read to the last whole group",
		rules{readsTornHistory: true},
		tornBounds,
		none,
	},
	{
		"numbers of history are not compared",
		rules{comparesNoNumbers: true},
		tornBounds,
		none,
	},
	{
		"history is kept across gaps",
		rules{keepsBelowGaps: true},
		gapBounds,
		none,
	},
	{
		"history is read across gaps, numbers are not compared",
		rules{skipsGaps: true, comparesNoNumbers: true},
		gapBounds,
		none,
	},
	{
		"history is kept across gaps, numbers are not compared",
		rules{keepsBelowGaps: true, comparesNoNumbers: true},
		gapBounds,
		none,
	},
	{
		"history is kept and read across gaps",
		rules{keepsBelowGaps: true, skipsGaps: true},
		gapBounds,
		none,
	},
	{
		"history is removed from its newest segment on",
		rules{removesNewestFirst: true},
		gapBounds,
		none,
	},
	{
		"Replace keeps the old segments, which nobody reads",
		rules{replaceKeepsHistory: true},
		replaceBounds,
		none,
	},
}
