package tuning

import (
	"slices"
	"strings"
	"testing"
)

// The linker accepts any text, so a name with a typo would switch off nothing
// without a word.
func TestOffNamesTricks(t *testing.T) {
	for name := range strings.SplitSeq(off, ",") {
		known := slices.ContainsFunc(Tricks(), func(trick Trick) bool { return trick.Name == name })
		if !known && name != "" && name != "all" {
			t.Errorf("there is no trick %q", name)
		}
	}
}

func TestSwitchesOff(t *testing.T) {
	before := off
	t.Cleanup(func() { off = before })
	for _, c := range []struct {
		off, name string
		want      bool
	}{
		{"", "zeros", false},
		{"zeros", "zeros", true},
		{"linger,zeros", "zeros", true},
		{"linger", "zeros", false},
		{"zero", "zeros", false},
		{"all", "zeros", true},
	} {
		off = c.off
		if got := isOff(c.name); got != c.want {
			t.Errorf("off is %q: %s is off: %t", c.off, c.name, got)
		}
	}
}

func TestTricksAreListedOnce(t *testing.T) {
	seen := make(map[string]bool)
	for _, trick := range Tricks() {
		if seen[trick.Name] {
			t.Errorf("%s is listed twice", trick.Name)
		}
		seen[trick.Name] = true
		if trick.On == isOff(trick.Name) {
			t.Errorf("%s: On is %t", trick.Name, trick.On)
		}
	}
	if !seen["handoff"] || !seen["hugepages"] {
		t.Errorf("the list is not complete: %v", seen)
	}
}
