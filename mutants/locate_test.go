package main

import (
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	const condition = "\tif x > 0 && x < 10 {\n"
	for _, c := range []struct {
		name, in, before, after string
		want                    string // a part of the text with the fault, or of the error
	}{
		{"lines", "Get", "\treturn two\n", "\treturn one\n", "\t}\n\treturn one\n}\n"},
		{"lines that go", "Get", "\tx := one\n", "\tx := 3\n", "int {\n\tx := 3\n\tif"},
		{
			"other indentation", "Get",
			"\t\t\t\treturn x\n\t\t\t}\n", "\t\treturn -x\n\t}\n",
			"10 {\n\t\treturn -x\n\t}\n\treturn two",
		},
		{
			"other comments", "Get",
			"\tx := one // another\n\t// more\n" + condition, "\tif x := 3; x > 0 {\n",
			"int {\n\tif x := 3; x > 0 {\n\t\treturn",
		},
		{
			"other breaks", "Get", "\tif x > 0 &&\n\n\t\tx < 10 {\n", "\tif false {\n",
			"the first\n\tif false {\n\t\treturn x",
		},
		{"deleted", "Get", condition + "\t\treturn x\n\t}\n", "", "the first\n\treturn two\n"},
		{
			"the whole function", "main",
			"\tfunc main() {\n\t\tprintln()\n\t}\n", "\tfunc main() {}\n",
			"\n\n\tfunc main() {}\n",
		},
		{"one of several constants", "const two", "\ttwo = 2\n", "\ttwo = 3\n", "\tone = 1\n\ttwo = 3\n)"},
		{"not the other constant", "const two", "\tone = 1\n", "\tone = 3\n", "has the lines 0 times"},
		{"missing", "Get", "\treturn 7\n", "\treturn 8\n", "f: line 0: a.go: Get has the lines 0 times, not once"},
		{"another function's", "Twice", "\treturn two\n", "\treturn one\n", "Twice has the lines 0 times"},
		{"two matches", "Twice", "\tGet()\n", "", "Twice has the lines 2 times"},
		{"both of two matches", "Twice", "\tGet()\n\tGet()\n", "\tGet()\n", "{\n\tGet()\n}\n"},
		{"a part of a line", "Get", "\tx > 0 && x < 10\n", "\tfalse\n", "has the lines 0 times"},
		{"the start of a line", "Get", "\tif x > 0\n", "\tif x > 1\n", "has the lines 0 times"},
		{"the end of a line", "Get", "\t&& x < 10 {\n", "\t{\n", "has the lines 0 times"},
		{"nothing changes", "Get", "\treturn two\n", "\treturn two // but a comment\n", "the edit changes nothing"},
		{"the fault is no Go", "Get", "\treturn two\n", "\treturn two }\n", "with the fault: a.go"},
		{"no function", "Put", "\treturn two\n", "\treturn one\n", `there is no "Put"`},
		{"no tokens", "Get", "\treturn \"\n", "\treturn one\n", "`before`: 1:9: string literal not terminated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fault{
				name: "f", tests: []string{"TestGet"},
				edits: []edit{{in: c.in, before: c.before, after: c.after}},
			}
			p, err := writeTree(t, repository).locate(f)
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = string(p.broken[p.paths()])
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLocateSurvivesAMove(t *testing.T) {
	f := &fault{
		name:  "f",
		tests: []string{"TestGet"},
		edits: []edit{{in: "Get", before: "\tif x > 0 && x < 10 {\n", after: "\tif x >= 0 && x < 10 {\n"}},
	}
	moved := map[string]string{
		"go.mod":            "module a\n",
		"internal/b/go.mod": "module b\n",
		"internal/b/get.go": `package b

// Get has moved.
func Get(x int) (int, bool) {
	for {
		if x > 0 && x < 10 { // still
			return x, true
		}
	}
}
`,
		"tests/all_test.go": "package tests\n\nfunc TestGet() {}\n",
	}
	p, err := writeTree(t, moved).locate(f)
	if err != nil {
		t.Fatal(err)
	}
	got := string(p.broken["internal/b/get.go"])
	if want := "\tfor {\n\tif x >= 0 && x < 10 {\n\t\t\treturn x, true\n"; !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := p.batch(); got.dir != "tests" || got.module != "." {
		t.Errorf("the tests are in %s of module %s", got.dir, got.module)
	}
}

func TestLocateSeveralEdits(t *testing.T) {
	edits := []edit{
		{in: "Get", before: "\treturn two\n", after: "\treturn two + two\n"},
		{in: "const one", before: "\tone = 1\n", after: "\tone = 2\n"},
		{in: "View.Open", before: "\tfunc (v *View[K]) Open() { v.n = 1 }\n", after: "\tfunc (v *View[K]) Open() {}\n"},
	}
	p, err := writeTree(t, repository).locate(&fault{name: "f", tests: []string{"TestGet"}, edits: edits})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.paths(), "a.go, sub/sub.go"; got != want {
		t.Errorf("changes %s, want %s", got, want)
	}
	a := string(p.broken["a.go"])
	if !strings.Contains(a, "\tone = 2\n\ttwo = 2 // twice one\n") || !strings.Contains(a, "\treturn two + two\n") {
		t.Errorf("got %s", a)
	}
	edits = append(edits, edit{in: "Get", before: "\t}\n\treturn two\n", after: "\t}\n"})
	_, err = writeTree(t, repository).locate(&fault{name: "f", tests: []string{"TestGet"}, edits: edits})
	if err == nil || !strings.Contains(err.Error(), "two edits change the same line") {
		t.Errorf("got %v", err)
	}
}
