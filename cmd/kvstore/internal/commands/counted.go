package commands

import (
	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// counted returns a number with its noun, which is in the singular only for 1.
func counted[N int | int64 | uint64](n N, noun string) string {
	return humanize.Comma(int64(n)) + " " + english.PluralWord(int(min(n, 2)), noun, "")
}
