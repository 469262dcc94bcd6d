package kvstore

import (
	"time"

	"kvstore/internal/format"
	"kvstore/internal/recovery"
)

// Recovery is what Open found; it is part of [Stats].
type Recovery struct {
	Snapshot string        // base name of the snapshot that was loaded, "" if there was none
	Groups   uint64        // groups replayed from the log
	Entries  uint64        // SET and DELETE entries in them
	Dropped  []Dropped     // torn tails: incomplete writes that a crash left, none of them acknowledged as durable
	Took     time.Duration // from the call of Open until the store could serve
}

// Dropped is a torn tail of the log that recovery cut off.
type Dropped struct {
	File   string // base name
	Offset int64  // where the tail begins
	Bytes  int64  // up to the last byte that was not zero
}

// newRecovery returns the report on a recovery, but for the time it took.
func newRecovery(state *recovery.State) Recovery {
	r := Recovery{Groups: state.Groups, Entries: state.Entries}
	if state.Snapshot > 0 {
		r.Snapshot = format.SnapshotName(state.Snapshot)
	}
	for _, d := range state.Dropped {
		r.Dropped = append(r.Dropped, Dropped(d))
	}
	return r
}

// logOpened tells the Logger what Open found.
func (s *Store) logOpened() {
	l := s.config.Logger.With("dir", s.config.DataDir)
	for _, d := range s.recovery.Dropped {
		l.Warn("kvstore: dropped the torn tail of the log", "file", d.File, "offset", d.Offset, "bytes", d.Bytes)
	}
	if !s.config.SyncWrites && !s.config.ReadOnly {
		l.Warn("kvstore: SyncWrites is off, a power cut may lose the last writes", "interval", s.config.SyncInterval)
	}
	l.Info("kvstore: opened", "snapshot", s.recovery.Snapshot, "groups", s.recovery.Groups,
		"entries", s.recovery.Entries, "keys", s.status.keys.Load(), "took", s.recovery.Took)
}
