package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"kvstore"
	"kvstore/internal/format"
)

// This file tests what is reported of a store that is open for writing.

const liveWrites = 300

// liveStore writes to a store, which rotates its log and writes snapshots,
// until the test ends or writes are done. Then it closes done.
func liveStore(t *testing.T, writes int) (dir string, done chan struct{}) {
	t.Helper()
	dir, done = t.TempDir(), make(chan struct{})
	s, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for i := range writes {
			value := make([]byte, 1+rand.IntN(64<<10))
			if err := s.Set(fmt.Sprint("key", i%50), value); err != nil {
				t.Error(err)
			}
			if i%100 == 99 {
				if err := s.Snapshot(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	t.Cleanup(func() {
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir, done
}

// Neither a store under way nor its log is ever reported as damaged.
func TestLiveStoreIsSound(t *testing.T) {
	dir, done := liveStore(t, 2*liveWrites)
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		r, err := Verify(dir, noProgress)
		if err != nil || (r.Verdict != Sound && r.Verdict != Repairable) || len(r.Damage) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if ended && r.Verdict != Sound {
			t.Fatalf("at rest: %+v", r)
		}
		err = Log(context.Background(), dir, false, func(r *Record) error {
			if r.What == Damaged || r.What == GapRecord {
				return fmt.Errorf("%+v", r)
			}
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A salvage of a store under way is a state that Open would accept: nothing is
// lost, and what the store is just writing is no damage.
func TestSalvageOfLiveStore(t *testing.T) {
	dir, done := liveStore(t, liveWrites)
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		target := filepath.Join(t.TempDir(), "new")
		account, err := Salvage(t.Context(), dir, target, quietly)
		if errors.Is(err, fs.ErrNotExist) && !ended {
			continue // the store has no file yet
		}
		if err != nil || account.Loss != None || len(account.Damage) > 0 {
			t.Fatalf("%+v, %v", account, err)
		}
	}
}

// follower follows a log and records what it sees.
type follower struct {
	t      *testing.T
	last   uint64
	gaps   int
	seen   int
	key    string // of the last SET
	wanted string // the key that ends the loop
	end    context.CancelFunc
}

func (f *follower) record(r *Record) error {
	switch r.What {
	case Set:
		f.seen++
		f.key = string(r.Key)
	case Commit:
		if f.gaps == 0 && f.last > 0 && r.Group != f.last+1 {
			f.t.Errorf("group %d comes after group %d: %+v", r.Group, f.last, r)
		}
		if r.Group <= f.last {
			f.t.Errorf("group %d comes after group %d: %+v", r.Group, f.last, r)
		}
		if f.last = r.Group; f.key == f.wanted {
			f.end()
		}
	case GapRecord:
		f.gaps++
	case Damaged, Torn, Unjudged:
		f.t.Errorf("%+v", r)
	case Segment, Delete, Expire, Cause, Unknown, End, Reserved:
	}
	return nil
}

// follow follows a log until it sees a key.
func follow(t *testing.T, dir, wanted string, idle func() error) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := &follower{t: t, wanted: wanted, end: cancel}
	if err := Log(ctx, dir, true, f.record, idle); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return f
}

// --follow sees each write once and in order, across segments, snapshots that
// remove segments, and sessions.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	session := func(f func(s *kvstore.Store)) {
		s, err := kvstore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		f(s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	set := func(s *kvstore.Store, key string, n int) {
		if err := s.Set(key, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	session(func(s *kvstore.Store) {
		set(s, "first", 1)
		// Each step begins when the follower has read everything before it, and
		// waits.
		steps := []func(){
			func() { set(s, "second", 1) },
			func() {
				for range 100 { // several segments
					set(s, "large", 100_000)
				}
			},
			func() {
				if err := s.Snapshot(t.Context()); err != nil {
					t.Error(err)
				}
			},
			func() {}, // the follower has to find the segment behind the snapshot
			func() { set(s, "third", 1) },
		}
		f := follow(t, dir, "third", func() error {
			if len(steps) > 0 {
				steps[0]()
				steps = steps[1:]
			}
			return nil
		})
		if f.seen != 103 || f.gaps > 0 {
			t.Errorf("%d writes seen, want 103; %d gaps", f.seen, f.gaps)
		}
	})
	// A session without writes leaves no segment, and the next session reuses
	// its number. The follower does not see what a session has written and
	// removed between two looks.
	var last *kvstore.Store
	step := 0
	f := follow(t, dir, "fourth", func() (err error) {
		switch step++; step {
		case 1, 2:
			session(func(*kvstore.Store) {})
		case 3:
			session(func(s *kvstore.Store) { set(s, "not seen", 1) })
			if last, err = kvstore.Open(dir); err == nil {
				set(last, "fourth", 1)
			}
		}
		return err
	})
	if f.gaps != 1 || f.seen != 1 {
		t.Errorf("%d gaps, %d writes seen", f.gaps, f.seen)
	}
	if err := last.Close(); err != nil {
		t.Fatal(err)
	}
}

// The follower sees every write of a store that writes at full speed, as long
// as no segment is removed.
func TestFollowBusyStore(t *testing.T) {
	dir := t.TempDir()
	s, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		for i := range liveWrites {
			if err := s.Set(fmt.Sprint("key", i), make([]byte, rand.IntN(64<<10))); err != nil {
				written <- err
				return
			}
		}
		written <- s.Set("last", nil)
	}()
	f := follow(t, dir, "last", func() error { return nil })
	if f.seen != liveWrites+1 || f.gaps > 0 {
		t.Errorf("%d writes seen, want %d; %d gaps", f.seen, liveWrites+1, f.gaps)
	}
	if err := errors.Join(<-written, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// An opener replaces the segment with the incomplete write at its end. A log
// that is followed continues in the new file.
func TestFollowThroughRepair(t *testing.T) {
	i := images(rand.New(rand.NewPCG(1, 2)))["log"].clone()
	name := format.SegmentName(3)
	i.files[name] = append(i.files[name][:i.groups[len(i.groups)-1].end], "KVLG torn"...)
	dir := t.TempDir()
	i.write(t, dir)
	var s *kvstore.Store
	f := follow(t, dir, "after", func() (err error) {
		if s == nil {
			if s, err = kvstore.Open(dir); err == nil {
				err = s.Set("after", nil)
			}
		}
		return err
	})
	if f.last != uint64(len(i.groups))+1 || f.gaps > 0 {
		t.Errorf("the last group is %d of %d, %d gaps", f.last, len(i.groups)+1, f.gaps)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The output for a damaged log has everything that is valid, and the damage.
func TestLogOfDamage(t *testing.T) {
	b := images(rand.New(rand.NewPCG(1, 2)))["log"]
	i := b.clone()
	second := i.groups[1]
	i.files[second.file][second.offset+5] ^= 1
	dir := t.TempDir()
	i.write(t, dir)
	var groups []uint64
	var damaged []Record
	err := Log(context.Background(), dir, false, func(r *Record) error {
		switch r.What {
		case Commit:
			groups = append(groups, r.Group)
		case Damaged:
			damaged = append(damaged, *r)
		case Segment, Set, Delete, Expire, Cause, Unknown, End, Torn, Unjudged, Reserved, GapRecord:
		}
		return nil
	}, nil)
	wanted := fmt.Sprint(groups) == "[1 3 4 5 6 7 8 9]"
	if err != nil || !wanted || len(damaged) != 1 || damaged[0].Offset != int64(second.offset) {
		t.Fatalf("groups %v, damage %+v, %v", groups, damaged, err)
	}
}

// An incomplete write at the end is no damage.
func TestLogOfTornTail(t *testing.T) {
	i := images(rand.New(rand.NewPCG(1, 2)))["log"].clone()
	name := format.SegmentName(3)
	i.files[name] = append(i.files[name][:i.groups[len(i.groups)-1].end], "KVLG torn"...)
	dir := t.TempDir()
	i.write(t, dir)
	torn := 0
	err := Log(context.Background(), dir, false, func(r *Record) error {
		if r.What == Torn {
			torn++
		}
		if r.What == Damaged {
			return fmt.Errorf("%+v", r)
		}
		return nil
	}, nil)
	if err != nil || torn != 1 {
		t.Fatalf("%d torn, %v", torn, err)
	}
}
