package inspect

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// badDisk is a file with bytes that cannot be read.
type badDisk struct {
	openFile
	from, to int64
}

func (f badDisk) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from && off < f.to {
		return 0, syscall.EIO
	}
	return f.openFile.ReadAt(b, off)
}

// unreadables returns ways in which a file becomes unreadable.
func unreadables(size int64) map[string]func(f *dataFile) {
	ways := map[string]func(f *dataFile){
		"not opened": func(f *dataFile) {
			f.openFile, f.err = nil, &unreadableError{f.name, fmt.Errorf("open %s: %w", f.name, syscall.EACCES)}
		},
	}
	const inside = 20 // the first block of a snapshot, SEGMENT of a segment
	for _, part := range [][2]int64{{0, size}, {size / 2, size}, {size - 1, size}, {inside, inside + 1}} {
		ways[fmt.Sprint("bytes not read: ", part)] = func(f *dataFile) {
			f.openFile = badDisk{f.openFile, part[0], part[1]}
		}
	}
	return ways
}

// eachUnreadable calls test for each file of each shape of directory, and each
// way in which it becomes unreadable.
func eachUnreadable(t *testing.T, test func(t *testing.T, whole *imageBuilder, d *directory, f *dataFile)) {
	for shape, whole := range images(rand.New(rand.NewPCG(1, 2))) {
		dir := t.TempDir()
		whole.write(t, dir)
		for k, name := range slices.Sorted(maps.Keys(whole.files)) {
			for way, apply := range unreadables(int64(len(whole.files[name]))) {
				t.Run(fmt.Sprintf("%s/%d/%s", shape, k, way), func(t *testing.T) {
					d, err := openDirectory(dir)
					if err != nil {
						t.Fatal(err)
					}
					defer d.close()
					k := slices.IndexFunc(d.data, func(f dataFile) bool { return f.name == name })
					apply(&d.data[k])
					test(t, whole, d, &d.data[k])
				})
			}
		}
	}
}

// A file that cannot be read is named, and decides the verdict if Open reads
// it.
func TestVerifyOfUnreadableFile(t *testing.T) {
	eachUnreadable(t, func(t *testing.T, _ *imageBuilder, d *directory, f *dataFile) {
		r := verify(d, noProgress)
		needed := f.number >= d.files.Newest()
		if needed != (r.Verdict == Unreadable) || needed != strings.Contains(r.Reason, f.name) {
			t.Errorf("%s, needed: %v: %s, %s", f.name, needed, r.Verdict, r.Reason)
		}
		named := slices.ContainsFunc(r.Damage, func(d Damage) bool {
			return d.File == f.name && d.Needed == needed && strings.Contains(d.Reason, f.name)
		})
		if !named {
			t.Errorf("%s is not in %+v", f.name, r.Damage)
		}
	})
}

// A salvage does without a file that cannot be read, and does not say that
// nothing is lost if Open reads it.
func TestSalvageOfUnreadableFile(t *testing.T) {
	eachUnreadable(t, func(t *testing.T, whole *imageBuilder, d *directory, f *dataFile) {
		target := filepath.Join(t.TempDir(), "new")
		account, err := salvageDirectory(t.Context(), d, target, quietly)
		if err != nil {
			t.Fatal(err)
		}
		got := contents(t, target)
		if f.number < d.files.Newest() {
			if account.Loss != None || !maps.Equal(got, whole.state) {
				t.Errorf("%s is not needed: %v, want %v, %+v", f.name, got, whole.state, account)
			}
			return
		}
		named := slices.ContainsFunc(account.Damage, func(d Damage) bool { return d.File == f.name })
		if account.Loss == None || !named {
			t.Errorf("%s: %+v", f.name, account)
		}
	})
}

// failingDisk is a file that can be read a number of times.
type failingDisk struct {
	openFile
	left *int
}

func (f failingDisk) ReadAt(b []byte, off int64) (int, error) {
	if *f.left--; *f.left < 0 {
		return 0, syscall.EIO
	}
	return f.openFile.ReadAt(b, off)
}

// Files are read more than once. A disk that fails in between does not make a
// salvage say that nothing is lost of what is not in the new store.
func TestSalvageOfFailingDisk(t *testing.T) {
	for shape, whole := range images(rand.New(rand.NewPCG(1, 2))) {
		dir := t.TempDir()
		whole.write(t, dir)
		for reads := range 40 {
			t.Run(fmt.Sprintf("%s/%d", shape, reads), func(t *testing.T) {
				d, err := openDirectory(dir)
				if err != nil {
					t.Fatal(err)
				}
				defer d.close()
				for k := range d.data {
					d.data[k].openFile = failingDisk{d.data[k].openFile, &reads}
				}
				target := filepath.Join(t.TempDir(), "new")
				account, err := salvageDirectory(t.Context(), d, target, quietly)
				if err != nil {
					return // and there is no new store
				}
				if got := contents(t, target); account.Loss == None && !maps.Equal(got, whole.state) {
					t.Errorf("%v, want %v, %+v", got, whole.state, account)
				}
			})
		}
	}
}
