package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"kvstore"
)

// P5, P10: a full disk fails the writes that need room and nothing else. A
// Close without room for its snapshot leaves the log.
func TestLimitFullDisk(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	for name, newFS := range map[string]func(*testing.T) *mount{
		"tmpfs": func(t *testing.T) *mount { return newTmpfs(t, "size=12m") },
		"ext4": func(t *testing.T) *mount {
			return newDisk(t, filepath.Join(t.TempDir(), "disk"), 16<<20, "") // ext4 needs 5 MiB itself
		},
	} {
		for _, syncWrites := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, SyncWrites %t", name, syncWrites), func(t *testing.T) {
				fillsDisk(t, newFS(t), syncWrites)
			})
		}
	}
}

func fillsDisk(t *testing.T, m *mount, syncWrites bool) {
	const large, ballast = 60 << 10, 8 << 20
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	r.config.SyncWrites = syncWrites
	small, big := filepath.Join(m.dir, "small"), filepath.Join(m.dir, "big")
	r.ok(os.WriteFile(small, make([]byte, 256<<10), 0o600))
	r.ok(os.WriteFile(big, make([]byte, ballast), 0o600))
	s := r.open()
	r.set(s, "first", 100)
	var err error
	written := 0
	for ; err == nil && written < 1000; written++ {
		err = r.trySet(s, fmt.Sprint("large ", written), large)
	}
	r.fails(err, syscall.ENOSPC)
	if written < 10 {
		t.Fatalf("the disk was full after %d writes", written)
	}
	r.verify(s)
	for range 3 { // a failed write does not block the next one
		r.fails(r.trySet(s, "none", large), syscall.ENOSPC)
		r.set(s, "first", 50) // it fits
	}
	r.ok(s.Sync())
	r.verify(s)
	r.ok(os.Remove(small))
	r.set(s, "after", large)
	r.verify(s)

	makeRoom := fillUp(t, m.dir)
	for err = nil; err == nil && written < 2000; written++ {
		err = r.trySet(s, fmt.Sprint("large ", written), large)
	}
	r.fails(err, syscall.ENOSPC)
	r.fails(s.Close(), syscall.ENOSPC)
	r.hasLog()
	s = r.open() // its ballast was freed for it
	r.fails(s.Close(), syscall.ENOSPC)
	r.hasLog()
	makeRoom()
	r.ok(os.Remove(big))
	s = r.open()
	r.set(s, "room again", large)
	r.close(s)
	s = r.open()
	if stats := s.Stats(); stats.Recovery.Groups != 0 {
		t.Errorf("Close with room again has left a log: %+v", stats)
	}
	r.close(s)
}

// P5: a lack of inodes is like a full disk.
func TestLimitNoInodes(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	m := newTmpfs(t, "size=16m,nr_inodes=4") // the root, the directory, LOCK, one segment
	r := newRealStore(t, filepath.Join(m.dir, "store"))
	s := r.open()
	r.set(s, "first", mostOfSegment)
	for range 3 {
		r.fails(r.trySet(s, "second", mostOfSegment), syscall.ENOSPC)
		r.set(s, "small", 100)
	}
	r.verify(s)
	m.change(t, 0, "nr_inodes=5")
	r.set(s, "second", mostOfSegment)
	r.fails(s.Close(), syscall.ENOSPC)
	r.hasLog()
	r.opensNot(syscall.ENOSPC)
	m.change(t, 0, "nr_inodes=100")
	r.close(r.open())
	r.close(r.open())
}

// P5: a process that has filled the disk can open the store again, delete, and
// write a small snapshot, after which writes succeed again. Nothing else on the
// disk has to go.
func TestLimitWayOutOfAFullDisk(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	for name, newFS := range map[string]func(*testing.T) *mount{
		"tmpfs": func(t *testing.T) *mount { return newTmpfs(t, "size=24m") },
		"ext4": func(t *testing.T) *mount {
			return newDisk(t, filepath.Join(t.TempDir(), "disk"), 32<<20, "") // ext4 needs 5 MiB itself
		},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %t", name, killed), func(t *testing.T) {
				m := newFS(t)
				dir := filepath.Join(m.dir, "store")
				const size = 10 << 10
				job := crashJob{Dir: dir, SyncWrites: true, Fill: size, CloseAfter: 1}
				if killed {
					job.CloseAfter = 0
				}
				child := startChild(t, crashEnv, job)
				var stored int
				for stored == 0 {
					line, ok := child.line()
					if !ok {
						t.Fatalf("the child ended: %s", &child.stderr)
					}
					_, _ = fmt.Sscanf(line, "full %d", &stored)
				}
				if fillUp(t, m.dir); !killed {
					child.await(t, "closed")
				}
				_ = child.kill() // an error says so
				fillUp(t, m.dir)
				wayOut(t, m.dir, dir, stored, size)
			})
		}
	}
}

// wayOut empties a store on a full disk, down to a fortieth.
func wayOut(t *testing.T, disk, dir string, stored, size int) {
	r := newRealStore(t, dir)
	s, err := kvstore.OpenWithConfig(r.config)
	r.ok(err)
	t.Cleanup(func() { _ = s.Close() })
	if s.Len() != stored {
		t.Fatalf("%d keys, %d were acknowledged", s.Len(), stored)
	}
	fillUp(t, disk)
	r.fails(r.trySet(s, "more", 1<<20), syscall.ENOSPC)
	for n := range stored {
		if n%40 != 0 {
			if err := s.Delete(fmt.Sprint("fill ", n)); err != nil {
				t.Fatalf("delete %d of %d: %v", n, stored, err)
			}
		} else {
			r.want[fmt.Sprint("fill ", n)] = string(make([]byte, size))
		}
	}
	r.ok(s.Snapshot(t.Context()))
	r.set(s, "room again", 1<<20)
	r.verify(s)
	r.close(s)
	s = r.open()
	r.close(s)
}
