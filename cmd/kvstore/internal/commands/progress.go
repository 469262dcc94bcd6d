package commands

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and nothing elsewhere. It is for one goroutine.
type progress struct{ bar *progressbar.ProgressBar } // nil for nothing

// unit is what a bar counts.
type unit int

const (
	inBytes unit = iota
	inKeys
	steps // that take about as long as each other
)

func (u unit) options() []progressbar.Option {
	switch u {
	case inKeys:
		return []progressbar.Option{progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("keys")}
	case steps:
		return []progressbar.Option{progressbar.OptionShowCount()}
	case inBytes:
	}
	return []progressbar.Option{progressbar.OptionShowCount(), progressbar.OptionShowBytes(true)}
}

// progress begins a bar for so many of a unit, or something that turns round if it is not known how many.
func (a *app) progress(what string, total int64, u unit) *progress {
	if !isTerminal(a.stderr) || os.Getenv("TERM") == "dumb" {
		return &progress{}
	}
	if total <= 0 {
		total = -1
	}
	theme := progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "▕", BarEnd: "▏"}
	if hasColour(a.stderr) {
		theme.Saucer, theme.SaucerPadding = "[cyan]█[reset]", "[dark_gray]░[reset]"
	}
	options := append(
		u.options(),
		progressbar.OptionSetWriter(onlyWriter{a.stderr}),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionEnableColorCodes(hasColour(a.stderr)),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetSpinnerChangeInterval(0), // it turns when it is shown, and needs no goroutine
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
	)
	return &progress{progressbar.NewOptions64(total, options...)}
}

// onlyWriter hides that a terminal is a file, which progressbar would fsync.
type onlyWriter struct{ io.Writer }

// show moves the bar and sets what stands before it. A bar that cannot be drawn is no reason to stop.
func (p *progress) show(what string, done int64) {
	if p.bar != nil {
		p.bar.Describe(what)
		_ = p.bar.Set64(done)
	}
}

// clear makes room for a line of text; the bar comes back with the next show.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end removes the bar for good.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		p.clear()
	}
}
