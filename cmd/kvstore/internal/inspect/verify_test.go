package inspect

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kvstore"
)

func noProgress(_, _ int64) {}

// Verify predicts exactly what Open does with a copy.
func TestVerifyAgreesWithOpen(t *testing.T) {
	broken(t, func(t *testing.T, _ *imageBuilder, i *image) {
		looked, opened := t.TempDir(), t.TempDir()
		i.write(t, looked)
		i.write(t, opened)
		r, err := Verify(looked, noProgress)
		wantUntouched(t, looked, i)
		s, openErr := kvstore.Open(opened)
		if openErr != nil && !errors.Is(openErr, kvstore.ErrCorrupt) && !errors.Is(openErr, kvstore.ErrVersion) {
			if err == nil {
				t.Errorf("Open: %v, Verify: %s", openErr, r.Verdict)
			}
			return
		}
		if err != nil {
			if s != nil {
				_ = s.Close()
			}
			if len(i.dirs) == 0 { // Open does not read all files
				t.Errorf("Verify: %v, Open: %v", err, openErr)
			}
			return
		}
		switch {
		case openErr == nil:
			dropped := s.Stats().Recovery.Dropped
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			switch {
			case len(dropped) == 0:
				if r.Verdict != Sound || r.Dropped != nil {
					t.Errorf("opened, Verify: %s, %+v", r.Verdict, r.Damage)
				}
			case r.Verdict != Repairable || *r.Dropped != Dropped(dropped[0]):
				t.Errorf("dropped %+v, Verify: %s, %+v", dropped, r.Verdict, r.Dropped)
			}
		case errors.Is(openErr, kvstore.ErrCorrupt):
			if r.Verdict != Corrupt || openErr.Error() != kvstore.ErrCorrupt.Error()+": "+r.Reason {
				t.Errorf("Open: %v, Verify: %s, %s", openErr, r.Verdict, r.Reason)
			}
			wantNamed(t, r, openErr)
		default:
			if r.Verdict != Later || openErr.Error() != kvstore.ErrVersion.Error()+": "+r.Reason {
				t.Errorf("Open: %v, Verify: %s, %s", openErr, r.Verdict, r.Reason)
			}
		}
	})
}

// wantNamed requires that the report has the damage that Open names.
func wantNamed(t *testing.T, r *Report, openErr error) {
	t.Helper()
	corrupt, _ := errors.AsType[*kvstore.CorruptError](openErr)
	for _, d := range r.Damage {
		if d.Needed && d.File == corrupt.File && d.Offset == corrupt.Offset {
			return
		}
	}
	t.Errorf("%v is not in %+v", openErr, r.Damage)
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
