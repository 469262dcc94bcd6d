package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kvstore"
)

func noProgress(_, _ int64) {}

var (
	quietly   = Options{Progress: noProgress}
	untilLoss = Options{Progress: noProgress, UntilLoss: true}
)

// Verify predicts exactly what Open does.
func TestVerifyAgreesWithOpen(t *testing.T) {
	brokenAtOnce(t, func(t *testing.T, _ *imageBuilder, i *image) {
		dir := t.TempDir()
		i.write(t, dir)
		wantVerdictOfOpen(t, dir)
		wantUntouched(t, dir, i)
	})
}

// wantVerdictOfOpen requires that the verdict on a directory is what Open does,
// for the reason that Open has.
func wantVerdictOfOpen(t *testing.T, dir string) {
	t.Helper()
	r, err := Verify(dir, noProgress)
	_, dropped, openErr := openReadOnly(t, dir)
	if errors.Is(openErr, fs.ErrNotExist) && errors.Is(err, fs.ErrNotExist) {
		return // there is no store
	}
	if err != nil {
		t.Fatal(err)
	}
	verdict, reason := verdictOfOpen(dropped, openErr)
	if r.Verdict != verdict || r.Reason != reason {
		t.Errorf("Open: %v, Verify: %s, %s", openErr, r.Verdict, r.Reason)
	}
	if loss := lossOf(r.Damage); (loss != None) != (openErr != nil) {
		t.Errorf("Open: %v, the worst damage is %s: %+v", openErr, loss, r.Damage)
	}
	wantDropped(t, r.Dropped, dropped)
	wantNamed(t, r, openErr)
}

// wantDropped requires that a report names what Open has dropped, which is one
// end of the log at most.
func wantDropped(t *testing.T, got *Dropped, want []kvstore.Dropped) {
	t.Helper()
	if (got != nil) != (len(want) > 0) || got != nil && *got != Dropped(want[0]) {
		t.Errorf("Open drops %v, the report has %v", want, got)
	}
}

// verdictOfOpen returns what Verify should say of a directory with which Open
// did this.
func verdictOfOpen(dropped []kvstore.Dropped, err error) (verdict Verdict, reason string) {
	corrupt, isCorrupt := errors.AsType[*kvstore.CorruptError](err)
	switch {
	case err == nil && len(dropped) == 0:
		return Sound, ""
	case err == nil:
		return Repairable, ""
	case isCorrupt:
		return Corrupt, fmt.Sprintf("%s at offset %d: %s", corrupt.File, corrupt.Offset, corrupt.Reason)
	case errors.Is(err, kvstore.ErrVersion):
		return Later, strings.TrimPrefix(err.Error(), kvstore.ErrVersion.Error()+": ")
	}
	return Unreadable, strings.TrimPrefix(err.Error(), "kvstore: ")
}

// openReadOnly opens a store read-only, and returns what is in it and what Open
// has dropped.
func openReadOnly(t *testing.T, dir string) (state map[string]string, dropped []kvstore.Dropped, err error) {
	t.Helper()
	config := kvstore.DefaultConfig(dir)
	config.ReadOnly = true
	s, err := kvstore.OpenWithConfig(config)
	if err != nil {
		return nil, nil, err
	}
	state = map[string]string{}
	for _, key := range s.Keys() {
		value, _ := s.Get(key)
		state[key] = string(value)
		if deadline, _ := s.Deadline(key); !deadline.IsZero() {
			state[key] = dated(string(value), deadline.UnixNano())
		}
	}
	dropped = s.Stats().Recovery.Dropped
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return state, dropped, nil
}

// wantNamed requires that the report has the damage that Open names, and no
// damage in files that Open reads if it names none.
func wantNamed(t *testing.T, r *Report, openErr error) {
	t.Helper()
	corrupt, isCorrupt := errors.AsType[*kvstore.CorruptError](openErr)
	named := slices.ContainsFunc(r.Damage, func(d Damage) bool {
		return d.Needed && (!isCorrupt || d.File == corrupt.File && d.Offset == corrupt.Offset)
	})
	if named != (openErr != nil) {
		t.Errorf("Open: %v, damage: %+v", openErr, r.Damage)
	}
}

// wantUntouched requires that a directory is unchanged.
func wantUntouched(t *testing.T, dir string, i *image) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		if got[entry.Name()], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.EqualFunc(got, i.files, bytes.Equal) || len(entries) != len(i.files)+len(i.dirs) {
		t.Error("the directory was changed")
	}
}

// Every checksum is verified: a change of any byte in the files of a closed
// store is noticed and reported.
func TestVerifyNamesEveryBit(t *testing.T) {
	dir := t.TempDir()
	s, err := kvstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Set("a", []byte("1")), s.Set("b", nil), s.Close()); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "snapshot-*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(names[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(dir, noProgress)
		if err != nil || r.Verdict != Corrupt || len(r.Damage) == 0 || !strings.Contains(names[0], r.Damage[0].File) {
			t.Fatalf("bit %d: %+v, %v", bit, r, err)
		}
	}
}
