package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"kvstore"
	"kvstore/cmd/kvstore/internal/lockwait"
	"kvstore/internal/format"
)

// targetDir is the directory that gets a new store. Files that no store has,
// such as the lost+found of a volume, may be there, and stay.
type targetDir struct {
	path    string
	isNew   bool // the directory did not exist
	hadLock bool // there was a lock file, which another process may use
	opened  bool // there is a store in it that is ours
}

// newTarget returns fs.ErrExist if there is a store in path.
func newTarget(path string) (*targetDir, error) {
	names, err := storeNames(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &targetDir{path: path, isNew: true}, nil
	}
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%s is not empty, it has %s of a store: %w", path, names[0], fs.ErrExist)
	}
	if err != nil {
		return nil, err
	}
	_, err = os.Lstat(filepath.Join(path, format.LockName))
	return &targetDir{path: path, hadLock: err == nil}, nil
}

// storeNames returns the names in a directory that are names of a store's
// files, also of unfinished ones.
func storeNames(path string) ([]string, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	files, bad, err := list(root)
	if err = errors.Join(err, root.Close()); err != nil {
		return nil, err
	}
	names := files.Temporary
	for _, f := range inOrder(&files) {
		names = append(names, f.name)
	}
	if bad != nil {
		names = append(names, damageOf(bad).File)
	}
	return names, nil
}

// timeless is the clock of a store in which no key is ever due. A deadline that
// has passed may be followed by a later one, since the key was touched in time.
func timeless() time.Time { return time.Date(1700, time.January, 1, 0, 0, 0, 0, time.UTC) }

// open makes the new store, in which no key is ever due. Its Close makes
// everything durable. wait is how long another process may have the lock. That
// process may make a store meanwhile, which stays as it is.
func (t *targetDir) open(ctx context.Context, wait time.Duration) (store *kvstore.Store, err error) {
	config := kvstore.DefaultConfig(t.path)
	config.SyncWrites = false
	config.Now = timeless
	config.Logger = slog.New(slog.DiscardHandler) // no warning: all of it is synced in the end
	err = lockwait.Do(ctx, wait, func() (err error) {
		store, err = kvstore.OpenWithConfig(config)
		return err
	})
	switch {
	case errors.Is(err, kvstore.ErrLocked):
		t.isNew = false // another process was faster
	case err == nil && !isFresh(store):
		err = errors.Join(fmt.Errorf("%s: another process has made a store: %w", t.path, fs.ErrExist), store.Close())
		t.isNew = false
	}
	t.opened = err == nil
	return store, err
}

// isFresh reports whether Open has found nothing to begin with.
func isFresh(store *kvstore.Store) bool {
	found := store.Stats().Recovery
	return found.Snapshot == "" && found.Groups == 0
}

// clear removes the files of the new store, and the directory if it is new.
func (t *targetDir) clear() error {
	if !t.opened && !t.isNew {
		return nil
	}
	names, err := storeNames(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !t.hadLock {
		names = append(names, format.LockName)
	}
	for _, name := range names {
		if removed := os.Remove(filepath.Join(t.path, name)); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	if t.isNew {
		err = errors.Join(err, os.Remove(t.path))
	}
	return err
}
