package kvstore

import (
	"errors"
	"fmt"
	"time"

	"kvstore/internal/datadir"
	"kvstore/internal/format"
	"kvstore/internal/vfs"
	"kvstore/internal/wal"
)

// maxLockPause is the longest pause between two attempts to lock a directory.
const maxLockPause = 50 * time.Millisecond

// directory is a data directory that is open and locked. Its fields are
// immutable but for freed.
type directory struct {
	fs   vfs.FS
	path string
	dir  *vfs.Meter
	lock vfs.Lock
	made []string // directories that were made for it, from the top

	ballast *wal.Ballast
	freed   bool // the ballast of an earlier session; owned by Open
}

// openDirectory opens and locks the data directory. It creates the directory,
// unless the store must exist. After an error it has created nothing.
func openDirectory(config Config, fsys vfs.FS) (_ *directory, err error) {
	d := &directory{fs: fsys, path: config.DataDir}
	if !config.mustExist() {
		if d.made, err = vfs.MakeDir(fsys, d.path); err != nil {
			return nil, fmt.Errorf("kvstore: create data directory: %w", err)
		}
	}
	dir, err := fsys.OpenDir(d.path)
	if err != nil {
		err = fmt.Errorf("kvstore: open data directory: %w", err)
		return nil, errors.Join(err, vfs.RemoveDirs(fsys, d.made))
	}
	d.dir = vfs.NewMeter(dir)
	err = d.acquire(config)
	if err != nil {
		return nil, errors.Join(err, d.dir.Close(), vfs.RemoveDirs(fsys, d.made))
	}
	d.ballast = wal.NewBallast(d.lock)
	return d, nil
}

// acquire locks the directory. If a store must be there, that is checked first,
// so that not even the lock file is made in a directory without one.
func (d *directory) acquire(config Config) (err error) {
	if config.mustExist() {
		if err := datadir.CheckStore(d.dir); err != nil {
			return publicError(fmt.Errorf("%s: %w", d.path, err))
		}
	}
	left := config.LockTimeout
	for pause := time.Millisecond; ; pause = min(2*pause, maxLockPause) {
		d.lock, err = d.dir.Lock(format.LockName, config.ReadOnly)
		locked, ok := errors.AsType[*vfs.LockedError](err)
		switch {
		case err == nil:
			return nil
		case !ok:
			return fmt.Errorf("kvstore: lock %s: %w", d.path, err)
		case left <= 0:
			return fmt.Errorf("%w: %s: %w", ErrLocked, d.path, locked)
		}
		pause = min(pause, left)
		time.Sleep(pause)
		left -= pause
	}
}

// freeBallast gives Open the space that an earlier session has held back.
func (d *directory) freeBallast() {
	d.ballast.Release()
	d.freed = true
}

// close releases the directory.
func (d *directory) close() error { return errors.Join(d.lock.Close(), d.dir.Close()) }

// abandon releases a directory after a failed Open or Restore, and removes what
// was made for it.
func (d *directory) abandon() error {
	d.lock.PutBack()
	if d.freed { // the next Open needs it as much
		d.ballast.HoldClosed(d.dir.Bytes())
	}
	err := errors.Join(d.lock.Abandon(), d.dir.Close())
	if err == nil {
		err = vfs.RemoveDirs(d.fs, d.made)
	}
	return err
}
