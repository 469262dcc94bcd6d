package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and nothing elsewhere. It is for one goroutine.
type progress struct{ bar *progressbar.ProgressBar } // nil for nothing

// progress begins a bar for so many bytes, or something that turns round if it is not known how many.
func (a *app) progress(what string, bytes int64) *progress {
	if !isTerminal(a.stderr) || os.Getenv("TERM") == "dumb" {
		return &progress{}
	}
	if bytes <= 0 {
		bytes = -1
	}
	theme := progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "▕", BarEnd: "▏"}
	if hasColour(a.stderr) {
		theme.Saucer, theme.SaucerPadding = "[cyan]█[reset]", "[dark_gray]░[reset]"
	}
	return &progress{progressbar.NewOptions64(
		bytes,
		progressbar.OptionSetWriter(onlyWriter{a.stderr}),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionEnableColorCodes(hasColour(a.stderr)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetPredictTime(bytes > 0),
		progressbar.OptionSetWidth(20),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetSpinnerChangeInterval(0), // it turns when it is shown, and needs no goroutine
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionClearOnFinish(),
	)}
}

// onlyWriter hides that a terminal is a file, which progressbar would fsync.
type onlyWriter struct{ io.Writer }

// show moves the bar to so many bytes and sets what stands before it. A bar that cannot be drawn is no reason to stop.
func (p *progress) show(what string, bytes int64) {
	if p.bar != nil {
		p.bar.Describe(what)
		_ = p.bar.Set64(bytes)
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
