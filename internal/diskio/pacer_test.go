package diskio_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/internal/diskio"
	"kvstore/internal/vfs"
)

// memFile makes a file in memory.
func memFile(t *testing.T) (*vfs.Mem, vfs.File) {
	t.Helper()
	m := vfs.NewMem(nil)
	if err := m.Mkdir("/base"); err != nil {
		t.Fatal(err)
	}
	dir, err := m.OpenDir("/base")
	if err != nil {
		t.Fatal(err)
	}
	file, err := dir.Create("file")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(file.Close(), dir.Close()) })
	return m, file
}

// busy is the work of others that never ends.
func busy() func() uint64 {
	n := uint64(0)
	return func() uint64 { n++; return n }
}

func idle() uint64 { return 7 }

// writeBacks has every WriteBack take so long, and counts them. They are of
// pieces that lie one behind the other.
func writeBacks(t *testing.T, fsys *vfs.Mem, slow time.Duration) *int {
	n, end := 0, int64(0)
	fsys.SetHook(func(op vfs.Op) error {
		if op.Kind == vfs.OpWriteBack {
			if op.Offset != end {
				t.Errorf("a piece from %d on, behind one that ends at %d", op.Offset, end)
			}
			n, end = n+1, op.Offset+int64(op.Bytes)
			<-time.After(slow)
		}
		return nil
	})
	return &n
}

// Many bytes go out in pieces. If others are busy, there are pauses between
// them, as long as the pieces take. If others are idle, or if it is urgent, the
// pieces are larger, without pauses.
func TestPacer(t *testing.T) {
	const size, slow = 128<<10 + 2<<20, 10 * time.Millisecond
	for _, c := range []struct {
		name     string
		work     func() uint64
		isUrgent bool
		pieces   int
		pauses   int
	}{
		{"busy", busy(), false, 17, 17},
		{"idle", idle, false, 3, 0},
		{"urgent", busy(), true, 2, 0},
	} {
		for _, write := range []int{32 << 10, size} {
			synctest.Test(t, func(t *testing.T) {
				fsys, file := memFile(t)
				pieces := writeBacks(t, fsys, slow)
				urgent := make(chan struct{})
				if c.isUrgent {
					close(urgent)
				}
				w, started := diskio.NewPacer(c.work, urgent).Writer(file), time.Now()
				for range size / write {
					if n, err := w.Write(make([]byte, write)); err != nil || n != write {
						t.Fatalf("%d bytes, %v", n, err)
					}
				}
				took, want := time.Since(started), time.Duration(c.pieces+c.pauses)*slow
				if took != want || *pieces != c.pieces {
					t.Errorf("%s, writes of %d: %d pieces, %v, want %d and %v", c.name, write, *pieces, took,
						c.pieces, want)
				}
				fsys.SetHook(nil)
				if got, err := file.Size(); err != nil || got != size {
					t.Errorf("%d bytes, %v", got, err)
				}
			})
		}
	}
}

// What the caller does between two writes counts too: it pauses for as long as
// that took.
func TestPacerSlowsItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, file := memFile(t)
		w, started := diskio.NewPacer(busy(), make(chan struct{})).Writer(file), time.Now()
		for range 5 {
			<-time.After(time.Millisecond)
			if _, err := w.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(started); took != 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// What is urgent ends a pause.
func TestPacerIsUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys, file := memFile(t)
		writeBacks(t, fsys, time.Hour)
		urgent, started := make(chan struct{}), time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := diskio.NewPacer(busy(), urgent).Writer(file).Write(make([]byte, 128<<10))
			done <- err
		}()
		<-time.After(time.Hour + time.Second)
		close(urgent)
		if err := <-done; err != nil || time.Since(started) > time.Hour+time.Second {
			t.Fatalf("%v after %v", err, time.Since(started))
		}
	})
}

// What fails is reported: a write, and the disk's taking what was written
// before.
func TestPacerFails(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpWriteBack} {
		fsys, file := memFile(t)
		cause := errors.New("injected")
		fsys.SetHook(func(op vfs.Op) error {
			if op.Kind == kind {
				return cause
			}
			return nil
		})
		if _, err := diskio.NewPacer(busy(),
			make(chan struct{})).Writer(file).Write(make([]byte, 1<<20)); !errors.Is(err, cause) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
