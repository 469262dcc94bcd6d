package diskio

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kvstore/internal/testseed"
	"kvstore/internal/vfs"
)

// A Syncer finds out whether lingering pays, on disks whose syncs take about so
// long with it and without, some of them much longer, and all of them more or
// less at different times; and goes on to find out.
func TestSyncerLearnsWhetherToLinger(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name          string
		awake, asleep time.Duration
		lingers       bool
	}{
		{"sooner", 85 * us, 100 * us, true},
		{"later", 100 * us, 85 * us, false},
		{"slow disk", 5010 * us, 5000 * us, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			random := testseed.Rand(t)
			s := &Syncer{lingers: true}
			drift := 1.0
			// lingering returns the share of so many syncs that would have
			// lingered.
			lingering := func(n int, awake, asleep time.Duration) float64 {
				count := 0
				for range n {
					took := asleep
					if s.awake != s.trial {
						took = awake
						count++
					}
					took = time.Duration(float64(took) * drift * (0.95 + random.Float64()/10))
					if random.IntN(100) == 0 {
						took *= 50
					}
					drift = min(max(drift+(random.Float64()-0.5)/1000, 0.7), 1.5)
					s.learn(took)
				}
				return float64(count) / float64(n)
			}
			lingering(64*rowSyncs, c.awake, c.asleep)
			if share := lingering(64*rowSyncs, c.awake, c.asleep); c.lingers && share < 0.8 || !c.lingers &&
				share > 0.2 {
				t.Errorf("lingers in %.2f of syncs", share)
			}
			lingering(640*rowSyncs, c.asleep, c.awake) // another disk
			if share := lingering(64*rowSyncs, c.asleep, c.awake); c.lingers && share > 0.2 ||
				c.name == "later" && share < 0.8 {
				t.Errorf("when it changed: lingers in %.2f of syncs", share)
			}
		})
	}
}

// What a Syncer has synced is durable, whether the clock stands still or not,
// and the errors are the file's.
func TestSyncerSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := vfs.NewMem(nil)
		ops := map[vfs.OpKind]int{}
		var fails vfs.OpKind
		m.SetHook(func(op vfs.Op) error {
			ops[op.Kind]++
			if op.Kind == vfs.OpSync {
				<-time.After(time.Duration(ops[op.Kind]%7) * 10 * time.Microsecond)
			}
			if op.Kind == fails {
				return syscall.EIO
			}
			return nil
		})
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		check(m.Mkdir("/base"))
		check(vfs.SyncName(m, "/base"))
		dir, err := m.OpenDir("/base")
		check(err)
		file, err := dir.Create("file")
		check(err)
		check(dir.Sync())
		s := &Syncer{lingers: true}
		check(s.Sync(file)) // nothing was begun
		size := int64(0)
		for i := range 20 * rowSyncs {
			n, err := file.WriteAt(fmt.Appendf(nil, "%d,", i), size)
			check(err)
			check(s.Begin(file, size, int64(n), false))
			size += int64(n)
			check(s.Sync(file))
		}
		_, err = file.WriteAt(make([]byte, maxLingerBytes+1), size)
		check(err)
		check(s.Begin(file, size, maxLingerBytes+1, false))
		if s.limit != 0 {
			t.Error("lingers after a long write")
		}
		check(s.Sync(file))
		if ops[vfs.OpStartWrite] != 20*rowSyncs+1 || ops[vfs.OpSync] != 20*rowSyncs+2 || ops[vfs.OpStartSync] != 0 {
			t.Errorf("operations %v", ops)
		}
		size += maxLingerBytes + 1
		_, err = file.WriteAt([]byte("aside"), size)
		check(err)
		check(s.Begin(file, size, 5, true))
		s.Yield()
		if s.limit != 0 || !s.whole {
			t.Error("it lingers, though all of the sync has begun")
		}
		check(s.Sync(file))
		if ops[vfs.OpStartSync] != 1 || ops[vfs.OpSync] != 20*rowSyncs+3 || s.whole {
			t.Errorf("with a sync aside: operations %v", ops)
		}
		size += 5
		fails = vfs.OpStartSync
		check(s.Begin(file, 0, 1, true))
		if err := s.Sync(file); !errors.Is(err, syscall.EIO) {
			t.Errorf("a sync aside fails: %v", err)
		}
		for _, fails = range []vfs.OpKind{vfs.OpStartWrite, vfs.OpSync} {
			beginErr := s.Begin(file, 0, 1, false)
			if syncErr := s.Sync(file); !errors.Is(errors.Join(beginErr, syncErr), syscall.EIO) ||
				(beginErr == nil) == (syncErr == nil) {
				t.Errorf("%s fails: Begin %v, Sync %v", fails, beginErr, syncErr)
			}
		}
		m.SetHook(nil)
		m.PowerCut()
		dir, err = m.OpenDir("/base")
		check(err)
		file, err = dir.Open("file")
		check(err)
		if now, err := file.Size(); err != nil || now != size {
			t.Errorf("%d bytes, %v, want %d", now, err, size)
		}
	})
}
