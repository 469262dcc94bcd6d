package main

import "testing"

func TestPattern(t *testing.T) {
	b := batch{tests: []string{"TestA", "TestB/sub.case"}}
	if got, want := b.pattern(), `^TestA$|^TestB$/^sub\.case$`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
