package kvstore

import (
	"errors"
	"fmt"

	"kvstore/internal/format"
)

// The errors that calls return, always wrapped with detail. Compare with
// [errors.Is].
var (
	// ErrClosed is returned by calls on a closed store. It does not affect
	// writes that were accepted before Close. View.WriteTo returns it, too, if
	// the view was closed.
	ErrClosed = errors.New("kvstore: store is closed")

	// ErrFailed is returned by writes, Sync, Snapshot, Close and Err after a
	// write or an fsync of the log has failed, or after somebody has removed,
	// replaced or truncated the segment that is written to or, where
	// directories cannot be locked, LOCK. It wraps the cause. Reads go on. With
	// SyncWrites, the data on disk is intact up to the last acknowledged write,
	// unless that happened to a segment: then write a backup through a View
	// first. It is unknown whether the writes that failed are there as well.
	// Close the store and open it again.
	ErrFailed = errors.New("kvstore: store has failed")

	// ErrLocked is returned by Open while another opener, in this process or
	// another, holds the data directory. The message names the process id of a
	// writer; read-only openers leave none.
	ErrLocked = errors.New("kvstore: data directory is locked")

	// ErrCorrupt is returned by Open when something that was durable is damaged
	// or missing; see [CorruptError]. Nothing was changed. The command `kvstore
	// verify` lists the damage, and `kvstore salvage` copies what is whole to a
	// new store. Otherwise restore a backup.
	ErrCorrupt = errors.New("kvstore: data is corrupt")

	// ErrVersion is returned by Open when a later version of this package wrote
	// the files. Nothing was changed.
	ErrVersion = errors.New("kvstore: data has a later format version")

	// ErrReadOnly is returned by writes to a store that was opened with
	// Config.ReadOnly, and by its Snapshot.
	ErrReadOnly = errors.New("kvstore: store is read-only")

	// ErrConflict is returned when the context of a transaction ended while
	// other writes kept changing what it had read.
	ErrConflict = errors.New("kvstore: transaction conflict")

	// ErrKeyTooLarge is returned for keys longer than MaxKeyBytes.
	ErrKeyTooLarge = errors.New("kvstore: key too large")

	// ErrValueTooLarge is returned for values longer than MaxValueBytes.
	ErrValueTooLarge = errors.New("kvstore: value too large")

	// ErrBatchTooLarge is returned for batches of more than MaxBatchBytes.
	ErrBatchTooLarge = errors.New("kvstore: batch too large")

	// ErrStoreFull is returned for writes that would leave more than MaxKeys
	// keys in the store.
	ErrStoreFull = errors.New("kvstore: too many keys")

	// ErrVersionOrder is returned for a commit whose SetVersion asks for a
	// version that is not above that of the commit before it, or is not below
	// 2^62.
	ErrVersionOrder = errors.New("kvstore: version out of order")

	// ErrNotNumber is returned by Add if the key's value is not a number as
	// strconv.FormatInt writes it.
	ErrNotNumber = errors.New("kvstore: value is not a number")

	// ErrOverflow is returned by Add if the sum is not an int64.
	ErrOverflow = errors.New("kvstore: number overflows")

	// ErrDeadline is returned for a deadline that is not within the years 1678
	// to 2262, where nanoseconds since 1970 have 64 bits, and for a time to
	// live that is not positive.
	ErrDeadline = errors.New("kvstore: impossible deadline")

	// ErrCursor is returned by Walk for a cursor that is not one of this
	// session: the store was closed and opened since.
	ErrCursor = errors.New("kvstore: cursor of another session")

	// ErrInvalidConfig is returned by Open for a Config with values that are
	// not allowed.
	ErrInvalidConfig = errors.New("kvstore: invalid config")
)

// CorruptError says what is damaged. errors.Is(err, ErrCorrupt) is true for it.
type CorruptError struct {
	File   string // base name in the data directory; "backup" for what Restore reads
	Offset int64  // of the first byte that is known to be wrong
	Reason string

	isStore bool // the file is one of a data directory that Open refuses
}

// Error returns the message. If Open refuses a data directory, it names the
// commands that help.
func (e *CorruptError) Error() string {
	text := fmt.Sprintf("%v: %s at offset %d: %s", ErrCorrupt, e.File, e.Offset, e.Reason)
	if e.isStore {
		text += "; see 'kvstore verify' and 'kvstore salvage'"
	}
	return text
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// publicError turns an error of the internal packages into the one that callers
// of this package see. It is called where errors leave the package: by Open and
// Restore, and where the writer answers.
func publicError(err error) error {
	if err == nil || errors.Is(err, ErrFailed) {
		return err
	}
	if damage, ok := errors.AsType[*format.Damage](err); ok {
		return &CorruptError{File: damage.File, Offset: damage.Offset, Reason: damage.Reason}
	}
	if later, ok := errors.AsType[*format.Later](err); ok {
		return fmt.Errorf("%w: %w", ErrVersion, later)
	}
	return fmt.Errorf("kvstore: %w", err)
}

// openError is publicError for Open.
func openError(err error) error {
	err = publicError(err)
	if corrupt, ok := errors.AsType[*CorruptError](err); ok {
		corrupt.isStore = true
	}
	return err
}
