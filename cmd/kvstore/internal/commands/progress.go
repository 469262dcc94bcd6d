package commands

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a progress bar on a terminal, and nothing elsewhere. It is for
// one goroutine.
type progress struct{ bar *progressbar.ProgressBar } // nil for nothing

// unit is what a bar counts.
type unit int

const (
	inBytes unit = iota
	inKeys
	inSteps // which take about the same time each
)

func (u unit) options() []progressbar.Option {
	switch u {
	case inKeys:
		return []progressbar.Option{
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("keys"),
		}
	case inSteps:
		return []progressbar.Option{progressbar.OptionShowCount()}
	case inBytes:
	}
	return []progressbar.Option{progressbar.OptionShowCount(), progressbar.OptionShowBytes(true)}
}

// progress starts a bar that ends at total, or a spinner if total is 0.
func (a *app) progress(what string, total int64, u unit) *progress {
	if !isTerminal(a.stderr.w) || os.Getenv("TERM") == "dumb" {
		return &progress{}
	}
	if total <= 0 {
		total = -1
	}
	theme := progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "▕", BarEnd: "▏"}
	if hasColor(a.stderr.w) {
		theme.Saucer, theme.SaucerPadding = "[cyan]█[reset]", "[dark_gray]░[reset]"
	}
	options := append(
		u.options(),
		progressbar.OptionSetWriter(onlyWriter{a.stderr}),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionEnableColorCodes(hasColor(a.stderr.w)),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(total > 0),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetSpinnerChangeInterval(0), // the spinner turns with each update, without a goroutine
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
	)
	return &progress{progressbar.NewOptions64(total, options...)}
}

// onlyWriter hides that a terminal is a file, which progressbar would fsync.
type onlyWriter struct{ io.Writer }

// show moves the bar and sets the text before it. It ignores errors: a bar that
// cannot be drawn is no reason to stop.
func (p *progress) show(what string, done int64) {
	if p.bar != nil {
		p.bar.Describe(what)
		_ = p.bar.Set64(done)
	}
}

// clear removes the bar for a line of text. The next show brings it back.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Exit()
		p.clear()
	}
}

// lazyProgress is a progress whose total is known only with the first update.
type lazyProgress struct {
	app      *app
	unit     unit
	progress *progress // nil before the first update
}

func (a *app) lazyProgress(u unit) *lazyProgress { return &lazyProgress{app: a, unit: u} }

// show moves the bar and sets the text before it.
func (l *lazyProgress) show(what string, done, total int64) {
	if l.progress == nil {
		l.progress = l.app.progress(what, total, l.unit)
	}
	l.progress.show(what, done)
}

// end removes the bar.
func (l *lazyProgress) end() {
	if l.progress != nil {
		l.progress.end()
	}
}
