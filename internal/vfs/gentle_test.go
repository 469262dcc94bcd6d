package vfs_test

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/internal/vfs"
)

// memFile makes a file in memory.
func memFile(t *testing.T) (*vfs.Mem, vfs.File) {
	m := vfs.NewMem(nil)
	must(t, m.Mkdir("/base"))
	return m, create(t, openDir(t, m, "/base"), "file", "")
}

func always() bool { return true }

// Many bytes go out in pieces, each synced, with pauses in the proportion of the syncs if others are busy; in a hurry, all at once.
func TestGentle(t *testing.T) {
	const pieces, slow = 5, 10 * time.Millisecond
	for _, c := range []struct {
		name    string
		busy    bool
		hurried bool
		syncs   int
		pauses  int
	}{
		{"busy", true, false, pieces, pieces},
		{"idle", false, false, pieces, 0},
		{"in a hurry", true, true, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			fsys, file := memFile(t)
			syncs := 0
			fsys.SetHook(func(op vfs.Op) error {
				if op.Kind == vfs.OpSync {
					syncs++
					<-time.After(slow)
				}
				return nil
			})
			hurry := make(chan struct{})
			if c.hurried {
				close(hurry)
			}
			w, started := vfs.Gentle(file, func() bool { return c.busy }, hurry), time.Now()
			piece := bytes.Repeat([]byte("x"), 1<<20/4)
			for range 4 * pieces {
				if n, err := w.Write(piece); err != nil || n != len(piece) {
					t.Fatalf("%d bytes, %v", n, err)
				}
			}
			took, want := time.Since(started), time.Duration(c.syncs+3*c.pauses)*slow
			if took != want || syncs != c.syncs {
				t.Errorf("%s: %d syncs, %v, want %d and %v", c.name, syncs, took, c.syncs, want)
			}
			fsys.SetHook(nil)
			if size, err := file.Size(); err != nil || size != pieces<<20 {
				t.Errorf("%d bytes, %v", size, err)
			}
		})
	}
}

// Who is pausing hears of the hurry.
func TestGentleIsHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys, file := memFile(t)
		fsys.SetHook(func(op vfs.Op) error {
			if op.Kind == vfs.OpSync {
				<-time.After(time.Hour)
			}
			return nil
		})
		hurry, started := make(chan struct{}), time.Now()
		done := make(chan error, 1)
		go func() {
			_, err := vfs.Gentle(file, always, hurry).Write(make([]byte, 1<<20))
			done <- err
		}()
		<-time.After(time.Hour + time.Second)
		close(hurry)
		if err := <-done; err != nil || time.Since(started) > time.Hour+time.Second {
			t.Fatalf("%v after %v", err, time.Since(started))
		}
	})
}

// What fails is reported: a write, and a sync of what was written before.
func TestGentleFails(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpWrite, vfs.OpSync} {
		fsys, file := memFile(t)
		cause := errors.New("injected")
		fsys.SetHook(func(op vfs.Op) error {
			if op.Kind == kind {
				return cause
			}
			return nil
		})
		if _, err := vfs.Gentle(file, always, make(chan struct{})).Write(make([]byte, 1<<20)); !errors.Is(err, cause) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
