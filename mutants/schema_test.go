package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// shapes has a function of each shape that a copy must have, and what a copy
// cannot hold. Each function tells what it is in the test.
var shapes = map[string]string{
	"go.mod": "module shapes\n\ngo 1.26.0\n",
	"shapes.go": `package shapes

const size = 3

var array [size]int

type box[K any] struct{ k K }

func plain() int {
	return 1
}

func nothing() { array[0] = 1 }

func unnamed(int, string) (n int, err error) {
	n = 1
	return
}

func variadic(_ int, more ...int) int {
	n := 0
	for _, m := range more {
		n += m
	}
	return n
}

func generic[K comparable, V any](m map[K]V, k K) (V, bool) {
	v, ok := m[k]
	return v, ok
}

func (b *box[K]) get() K {
	return b.k
}

func recovers() {
	_ = recover()
	_ = size
}

func (box[_]) twice(n int) int {
	if n == 0 {
		return 0
	}
	return box[int]{}.twice(n-1) + 2
}
`,
	"shapes_test.go": `package shapes

import (
	"fmt"
	"testing"
)

func TestShapes(t *testing.T) {
	nothing()
	n, err := unnamed(1, "")
	v, ok := generic(map[string]int{"a": 1}, "a")
	got := fmt.Sprint(plain(), array[0], n, err, variadic(1, 2, 3), v, ok, (&box[int]{5}).get(), box[string]{}.twice(3))
	if got != "1 1 1 <nil> 5 1 true 5 6" {
		t.Fatal(got)
	}
}
`,
}

// A fault that is chosen is the only one, in each shape of function.
func TestSchema(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go tool")
	}
	rows := []struct{ in, before, after, want string }{
		{"plain", "return 1", "return 2", "2 1 1 <nil> 5 1 true 5 6"},
		{"plain", "return 1", "return 3", "3 1 1 <nil> 5 1 true 5 6"},
		{"nothing", "func nothing() { array[0] = 1 }", "func nothing() {}", "1 0 1 <nil> 5 1 true 5 6"},
		{"unnamed", "n = 1", "n = 2", "1 1 2 <nil> 5 1 true 5 6"},
		{"variadic", "n += m", "n -= m", "1 1 1 <nil> -5 1 true 5 6"},
		{"generic", "return v, ok", "return v, !ok", "1 1 1 <nil> 5 1 false 5 6"},
		{"box.get", "return b.k", "return box[K]{}.k", "1 1 1 <nil> 5 1 true 0 6"},
		{"box.twice", "return 0", "return 1", "1 1 1 <nil> 5 1 true 5 7"},
	}
	root := t.TempDir()
	tree := writeFiles(t, root, shapes)
	var list []*planted
	for _, row := range rows {
		list = append(list, locateEdit(t, tree, edit{in: row.in, before: row.before, after: row.after + "\n"}))
	}
	if err := writeSchema(root, list); err != nil {
		t.Fatal(err)
	}
	ps := &programs{schema: root, dir: t.TempDir(), built: map[program]func() (string, error){}}
	file := filepath.Join(t.TempDir(), "test.exe")
	for i, row := range rows {
		if list[i].alone {
			t.Fatalf("%s is not in the schema", row.in)
		}
		if err := ps.choose(t.Context(), file, list[i].batch(), list[i].number); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(file).CombinedOutput()
		if err == nil || !strings.Contains(string(out), ": "+row.want+"\n") {
			t.Errorf("%s with %s: got %s, want %s", row.in, row.after, out, row.want)
		}
	}
	sound, err := ps.get(context.Background(), list[0].batch())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(sound).CombinedOutput(); err != nil {
		t.Errorf("no fault is chosen, and the test says %s", out)
	}
}

// What no copy of a function can hold is built alone.
func TestSchemaLeavesOut(t *testing.T) {
	root := t.TempDir()
	tree := writeFiles(t, root, shapes)
	var list []*planted
	for _, e := range []edit{
		{in: "const size", before: "const size = 3", after: "const size = 2"},
		{in: "type box", before: "type box[K any] struct{ k K }", after: "type box[K any] struct{ k, l K }"},
		{
			in: "variadic", before: "func variadic(_ int, more ...int) int {",
			after: "func variadic(first int, more ...int) int {",
		},
		{in: "recovers", before: "_ = size", after: "_ = size + 1"},
	} {
		list = append(list, locateEdit(t, tree, e))
	}
	if err := writeSchema(root, list); err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if !p.alone {
			t.Errorf("%s is in the schema", p.name)
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "shapes.go"))
	if err != nil || string(text) != shapes["shapes.go"] {
		t.Errorf("the file has changed, or %v", err)
	}
}

// locateEdit returns a fault that TestShapes notices.
func locateEdit(t *testing.T, tree *tree, e edit) *planted {
	t.Helper()
	p, err := tree.locate(&fault{name: e.in, tests: []string{"TestShapes"}, edits: []edit{e}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
