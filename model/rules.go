package main

// rules are the ways in which a variant departs from the protocol. The zero
// value is the protocol. Each rule says what is done instead.
type rules struct {
	// The writer.
	commitVouchesForWritten bool // the D of a COMMIT is the last group written, not the last durable one
	endVouchesForAll        bool // END has no D, and vouches for all groups before it
	endNeverRides           bool // END is never written with a group
	endAfterSync            bool // everything is synced before END is written
	endUnseeded             bool // the checksum of END is not seeded: a user's value can be one
	nextNamedEarly          bool // a segment gets its name before the END of the one before is durable
	answersEarly            bool // callers are answered before the fsync
	retriesSync             bool // an fsync that has failed is tried again, and its success is believed
	segmentUnsynced         bool // a segment gets its name before its content is synced
	snapshotUnsynced        bool // a snapshot gets its name before its content is synced
	snapshotRemovesEarly    bool // the log that a snapshot covers is removed before the snapshot's name is synced
	snapshotStops           bool // when the store has failed, a snapshot under way does nothing more

	// Recovery, judging.
	endOptional  bool // a segment that lacks its END counts as the last; what follows is dropped
	endIsProof   bool // the D of an END proves groups durable, as that of a COMMIT does
	junkIsDamage bool // what is behind the END of an earlier segment is damage

	// Recovery, making durable.
	parentUnsynced bool // the directory above a new data directory is not synced
	loadedUnsynced bool // files that were loaded and not replaced are not synced
	namesUnsynced  bool // the directory is synced only after the session's segment has its name
	makesRoomEarly bool // what the snapshot covers is removed before the snapshot's name is durable

	copiesUncompared bool // segments are written anew from what a second reading finds, whatever that is
	servesUncompared bool // what a second reading finds is served, whatever that is

	trustsEnd bool // a last segment whose END vouches for all of it is synced, not replaced
	relinks   bool // every name is written again before the directory is synced

	// Recovery that writes into the files it has found (inplace.go).
	rewritesInPlace bool
	keepsGroups     bool // groups are not written again
	keepsEnd        bool // an END that is there is not written again
	keepsZeros      bool // zeros behind END are not written again
	endWithRewrites bool // END is synced together with the groups

	// The disk: what kvstore assumes of it, and what ext4 adds.
	blocksRecover  bool // a block that has lost a write takes the next one
	namesForgotten bool // names that a failed fsync of the directory has not written are clean

	// The specification.
	countsOnlyLosses bool // damage that takes nothing need not be noticed

	// Close that keeps the log.
	logCloseEndLags      bool // END is written before everything is synced, with the D it has then
	logCloseWithoutEnd   bool // everything is synced, and there is no END
	logCloseRemovesEmpty bool // a session that has written nothing removes its segment

	// Open that compacts.
	compactsUnrepaired  bool // the snapshot comes in place of the repair, not after it
	compactsOverLog     bool // the snapshot has the last segment's number
	compactRemovesEarly bool // the log that it covers is removed before its name is synced

	// Replace.
	replaceKeepsStore        bool // the store id stays
	replaceReusesNumber      bool // it takes the number of an empty segment, as Close does
	replaceNamesSegmentFirst bool // the next segment gets its name first, as in a snapshot while serving
	writesBehindEnd          bool // if it fails when the old log has its END, the next group follows that END
	replaceGoesOn            bool // if the directory cannot be synced, the old content goes on
	replaceRemovesEarly      bool // the old files are removed before the new name is synced
	replaceKeepsHistory      bool // the old segments stay, as history
	replaceUnsynced          bool // the snapshot gets its name before its content is synced

	// History.
	cursorsOfVisible   bool // a cursor is handed out as durable when its commit is only visible
	acceptsBetween     bool // a cursor that is between two commits is resumed
	guessesEdge        bool // a cursor below the first commit kept is resumed there
	skipsGaps          bool // a reader of history goes on below a missing segment
	comparesNoNumbers  bool // a reader of history does not compare group numbers
	readsTornHistory   bool // a reader of history takes the last whole group for the end of a segment
	readsOtherStores   bool // neither the reader nor the keeper of history looks at the store id
	keepsBelowGaps     bool // history is kept by its size alone, whatever is missing in between
	removesNewestFirst bool // history is removed from its newest segment on
}
