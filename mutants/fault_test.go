package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseFaults(t *testing.T) {
	const text = `# A comment.

fault: the first
breaks: P1
layer: L1 crash explorer
timeout: 15s
test: TestA|TestB/sub
in: Store.Get
before:
	if a {

		b()

# A comment.
after:
	b()

fault: the second
breaks: scans
layer: L0 race detector
test: TestC
in: const first
before:
	const first = 1
in: second
before:
	return first
after:
	return 1
`
	explorer, _ := findLayer("L1 crash explorer")
	race, _ := findLayer("L0 race detector")
	want := []*fault{
		{
			name: "the first", file: "a.fault", line: 3, promise: "P1", layer: explorer,
			tests: []string{"TestA", "TestB/sub"}, timeout: 15 * time.Second,
			edits: []edit{{line: 8, in: "Store.Get", before: "\tif a {\n\n\t\tb()\n", after: "\tb()\n"}},
		},
		{
			name: "the second", file: "a.fault", line: 18, promise: "scans", layer: race, tests: []string{"TestC"},
			edits: []edit{
				{line: 22, in: "const first", before: "\tconst first = 1\n"},
				{line: 25, in: "second", before: "\treturn first\n", after: "\treturn 1\n"},
			},
		},
	}
	got, err := parseFaults("a.fault", text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", deref(got), deref(want))
	}
}

func deref(faults []*fault) []fault {
	var all []fault
	for _, f := range faults {
		all = append(all, *f)
	}
	return all
}

func TestParseFaultsReportsMistakes(t *testing.T) {
	const head = "fault: f\nbreaks: P1\nlayer: L0 model\ntest: TestA\n"
	for _, c := range []struct{ name, text, want string }{
		{"no promise", "fault: f\n", "a.fault:1: f: there is no `breaks:`"},
		{"no layer", "fault: f\nbreaks: P1\n", "there is no `layer:`"},
		{"no test", "fault: f\nbreaks: P1\nlayer: L0 model\n", "there is no `test:`"},
		{"no declaration", head, "there is no `in:`"},
		{"no code", head + "in: f\nbefore:\nafter:\n\tx\n", "line 5: there is no code to replace"},
		{"unknown layer", "fault: f\nlayer: L17\n", "a.fault:2: layers.go knows no layer \"L17\""},
		{"unknown field", "fault: f\nlater: L0\n", "unknown field `later:`"},
		{"field twice", head + "test: TestB\n", "a.fault:5: `test:` twice"},
		{"code twice", head + "in: f\nbefore:\n\tx\nbefore:\n\ty\n", "a.fault:8: `before:` twice"},
		{"field before the first fault", "test: TestA\n", "a.fault:1: `test:` before the first `fault:`"},
		{"code of nothing", "fault: f\n\tx\n", "a.fault:2: code that follows neither"},
		{"code behind another field", head + "in: f\n\tx\n", "a.fault:6: code that follows neither"},
		{"code without a declaration", head + "before:\n\tx\n", "`before:` without an `in:`"},
		{"code beside the colon", head + "in: f\nbefore: x\n", "`before:` with the value \"x\""},
		{"empty name", "fault:\n", "`fault:` with the value \"\""},
		{"code that is not indented", head + "in: f\nbefore:\nx = 1\n", "a.fault:7: \"x = 1\" is no field"},
		{"timeout", "fault: f\ntimeout: long\n", "invalid duration"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseFaults("a.fault", c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
