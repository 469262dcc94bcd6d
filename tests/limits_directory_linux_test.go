package tests

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"kvstore"
)

// A store on a read-only mount can be read, and Open for writing says why it
// fails.
func TestLimitReadOnlyMount(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	r := newRealStore(t, t.TempDir())
	s := r.open()
	for i := range 3 {
		r.set(s, fmt.Sprint("key ", i), 100)
	}
	crashed := t.TempDir() // with a log, which a reader must not repair
	r.copyTo(crashed)
	r.close(s)
	for _, dir := range []string{r.config.DataDir, crashed} {
		m := newMount(t, dir, "", syscall.MS_BIND, "")
		m.change(t, syscall.MS_BIND|syscall.MS_RDONLY, "")
		frozen := &realStore{T: t, config: kvstore.DefaultConfig(m.dir), want: r.want}
		frozen.opensNot(syscall.EROFS)
		missing := &realStore{T: t, config: kvstore.DefaultConfig(filepath.Join(m.dir, "not", "there"))}
		_, err := kvstore.OpenWithConfig(missing.config)
		missing.fails(err, syscall.EROFS)
		m.change(t, syscall.MS_BIND, "")
		frozen.close(frozen.open())
		m.unmount(t)
	}
}

// immutable forbids any change, even to root. The function that it returns
// allows changes again.
func immutable(t *testing.T, path string) (allow func()) {
	t.Helper()
	needRoot(t, "chattr")
	allowed := false
	allow = func() {
		if allowed {
			return
		}
		allowed = true
		if _, err := runTool(t, "chattr", "-i", path); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(allow) // before the file system goes away
	if _, err := runTool(t, "chattr", "+i", path); err != nil {
		allowed = true
		missingLayer(t, "%v", err)
	}
	return allow
}

// Without permission to write, Open fails with that error and changes nothing.
// A store that is open fails for good, and loses nothing.
func TestLimitForbidden(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	// The disk is removed with the test, even if files on it stay immutable.
	m := newDisk(t, filepath.Join(t.TempDir(), "disk"), 64<<20, "")
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	r.ok(os.Mkdir(r.config.DataDir, 0o700))
	empty := immutable(t, r.config.DataDir)
	_, err := kvstore.OpenWithConfig(r.config)
	r.fails(err, fs.ErrPermission)
	empty()
	r.close(r.open())
	s := r.open()
	r.set(s, "first", 100)
	r.close(s)

	for _, path := range []string{r.config.DataDir, filepath.Join(r.config.DataDir, "LOCK")} {
		allow := immutable(t, path)
		r.opensNot(fs.ErrPermission)
		allow()
		s := r.open()
		r.set(s, "next", 100)
		r.close(s)
	}

	s = r.open()
	r.set(s, "large", mostOfSegment)
	allow := immutable(t, r.config.DataDir)
	r.failed(r.trySet(s, "no segment", mostOfSegment), fs.ErrPermission)
	r.failed(r.trySet(s, "small", 100), fs.ErrPermission)
	r.verify(s)
	r.failed(s.Close(), fs.ErrPermission)
	r.opensFails(fs.ErrPermission)
	allow()
	r.close(r.open())

	s = r.open()
	r.set(s, "once more", 100)
	allow = immutable(t, r.config.DataDir)
	r.fails(s.Close(), fs.ErrPermission)
	r.hasLog()
	allow()
	r.close(r.open())
	r.close(r.open())
}

// A directory that is renamed while its store is open still belongs to that
// store.
func TestLimitRenamedDirectory(t *testing.T) {
	base := t.TempDir()
	old, renamed := filepath.Join(base, "old"), filepath.Join(base, "new")
	for _, syncWrites := range []bool{true, false} {
		r := newRealStore(t, old)
		r.config.SyncWrites = syncWrites
		s := r.open()
		r.set(s, "first", 900<<10)
		r.ok(os.Rename(old, renamed))
		r.ok(os.Mkdir(old, 0o700)) // another directory in its place
		for i := range 10 {
			r.set(s, fmt.Sprint("key ", i), 900<<10)
		}
		r.verify(s)
		r.config.DataDir = renamed
		_, err := kvstore.OpenWithConfig(r.config)
		r.fails(err, kvstore.ErrLocked)
		if segments := r.files(); len(segments) < 4 {
			t.Errorf("no rotation: %q", segments)
		}
		r.close(s)
		s = r.open()
		if stats := s.Stats(); stats.Recovery.Groups != 0 {
			t.Errorf("Close has left a log: %+v", stats)
		}
		r.close(s)
		r.config.DataDir = old
		if names := r.files(); len(names) > 0 {
			t.Errorf("%q went to the old path", names)
		}
		r.ok(errors.Join(os.RemoveAll(old), os.RemoveAll(renamed)))
	}
}
