package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository has two modules, names that several packages declare, and files
// that are not built.
var repository = map[string]string{
	"go.mod": "module a\n",
	"a.go": `package a

const (
	one = 1
	two = 2 // twice one
)

func Get() int {
	x := one // the first
	if x > 0 && x < 10 {
		return x
	}
	return two
}

func Twice() {
	Get()
	Get()
}

type View struct{ n int }

func (v *View) Close() { v.n = 0 }
`,
	"a_test.go":   "package a\n\nfunc TestGet() {}\n",
	"a_plan9.go":  "package a\n\nfunc Elsewhere() {}\n\nfunc onlyPlan9() {}\n",
	"a_linux.go":  "package a\n\nfunc Elsewhere() {}\n",
	"a_darwin.go": "package a\n\nfunc Elsewhere() {}\n",
	"race.go":     "//go:build race\n\npackage a\n\nfunc onlyRaced() {\n\tGet()\n}\n",
	"sub/sub.go": `package sub

type View[K any] struct{ n int }

func (v *View[K]) Close() { v.n = 0 }

func (v *View[K]) Open() { v.n = 1 }
`,
	"sub/sub_test.go":      "package sub_test\n\nfunc TestSub() {}\n\nfunc TestBoth() {}\n",
	"cmd/go.mod":           "module cmd\n",
	"cmd/main.go":          "package main\n\nfunc main() {\n\tprintln()\n}\n",
	"cmd/in/in.go":         "package in\n",
	"cmd/in/in_test.go":    "package in\n\nfunc TestIn() {}\n\nfunc TestBoth() {}\n",
	"testdata/not.go":      "package not\n\nfunc Get() {}\n",
	"cmd/testdata/bad.go":  "not Go\n",
	".hidden/hidden.go":    "package hidden\n\nfunc Get() {}\n",
	"cmd/in/testdata/a.go": "package not\n\nfunc Get() {}\n",
}

// writeTree writes files to a new directory, and reads them as a tree.
func writeTree(t *testing.T, files map[string]string) *tree {
	t.Helper()
	return writeFiles(t, t.TempDir(), files)
}

// writeFiles writes files to a directory, and reads them as a tree.
func writeFiles(t *testing.T, root string, files map[string]string) *tree {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestFind(t *testing.T) {
	plain, raced := layer{}, layer{race: true}
	for _, c := range []struct {
		name  string
		layer layer
		want  string // the file, or part of the error
	}{
		{"Get", plain, "a.go"},
		{"a.Get", plain, "a.go"},
		{"const two", plain, "a.go"},
		{"const a.two", plain, "a.go"},
		{"two", plain, `there is no "two"`},
		{"Elsewhere", plain, "a_linux.go"},
		{"onlyPlan9", plain, "not built for linux/amd64 in this layer: onlyPlan9 in package a, a_plan9.go"},
		{"onlyRaced", raced, "race.go"},
		{"onlyRaced", plain, `"onlyRaced" is not built for linux/amd64 in this layer: onlyRaced`},
		{"View.Open", plain, "sub/sub.go"},
		{"View.Close", plain, "is ambiguous: View.Close in package a, a.go; View.Close in package sub, sub/sub.go"},
		{"a.View.Close", plain, "a.go"},
		{"sub.View.Close", plain, "sub/sub.go"},
		{"type View", plain, `"type View" is ambiguous`},
		{"type sub.View", plain, "sub/sub.go"},
		{"main", plain, "cmd/main.go"},
		{"TestGet", plain, `there is no "TestGet"`},
		{"hidden.Get", plain, `there is no "hidden.Get"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := writeTree(t, repository).find(c.name, c.layer)
			switch {
			case err != nil && !strings.Contains(err.Error(), c.want):
				t.Errorf("got %v, want %s", err, c.want)
			case err == nil && d.path != c.want:
				t.Errorf("found in %s, want %s", d.path, c.want)
			}
		})
	}
}

func TestFindTests(t *testing.T) {
	for _, c := range []struct{ tests, want string }{
		{"TestGet", "., module ."},
		{"TestSub", "sub, module ."},
		{"TestIn", "cmd/in, module cmd"},
		{"TestIn/sub/test", "cmd/in, module cmd"},
		{"TestIn|TestGet", "tests of several packages: cmd/in/in_test.go and a_test.go"},
		{"TestBoth", "test TestBoth is ambiguous: cmd/in/in_test.go and sub/sub_test.go"},
		{"TestNone", "there is no test TestNone"},
	} {
		t.Run(c.tests, func(t *testing.T) {
			s, err := writeTree(t, repository).findTests(strings.Split(c.tests, "|"), layer{})
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = s.dir + ", module " + s.module
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
