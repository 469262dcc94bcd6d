package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

const unknown = "unknown"

// fact is a line of the report's header. Without the header no figure means
// anything.
type fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (b *bench) facts(seed uint64, specs []spec, missing []string) []fact {
	scale := "1: all numbers of keys are as stated"
	if b.scale != 1 {
		scale = fmt.Sprintf("**%v: all numbers of keys are multiplied by it; no verdict counts**", b.scale)
	}
	list := append(hostFacts(b.dir),
		fact{"cores", fmt.Sprintf("%d, GOMAXPROCS %d", runtime.NumCPU(), runtime.GOMAXPROCS(0))},
		fact{"Go", runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
		fact{"kvstore", commit()},
		fact{"peers", versions(specs)},
		fact{"data", fmt.Sprintf("random keys of %d B; random values, of %d B unless stated otherwise; seed %d",
			keyBytes, valueBytes, seed)},
		fact{"runs", fmt.Sprintf("%d rounds of %v each, in which the engines take turns; medians (least–most)",
			b.rounds, b.duration)},
		fact{"scale", scale},
		fact{"command", "`go run . " + strings.Join(os.Args[1:], " ") + "`"},
		fact{"date", time.Now().UTC().Format(time.DateOnly)},
	)
	for _, text := range missing {
		list = append(list, fact{"missing", text})
	}
	return list
}

// commit names the measured version, if the program runs in its repository.
func commit() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return unknown + " commit"
	}
	text := "commit " + strings.TrimSpace(string(head))
	// Only the module counts: the report of an earlier run may be in the
	// repository, and changed.
	status := []string{"status", "--porcelain", "--", "../*.go", "../internal", "../go.mod"}
	changes, err := exec.CommandContext(ctx, "git", status...).Output()
	if err != nil || len(changes) > 0 {
		text += " with changes"
	}
	return text
}

// versions are the versions of the peers that this program was built with.
func versions(specs []spec) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	built := make(map[string]string)
	for _, m := range info.Deps {
		built[m.Path] = m.Version
	}
	var list []string
	for _, s := range specs {
		if s.role != peer {
			continue
		}
		version := built[s.module]
		if s.otherProcess {
			version = strings.TrimSpace(version + " (client), " + serverVersion())
		}
		list = append(list, s.name+" "+version)
	}
	return strings.Join(list, "; ")
}

func serverVersion() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	text, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return unknown
	}
	for field := range strings.FieldsSeq(string(text)) {
		if version, ok := strings.CutPrefix(field, "v="); ok {
			return "server " + version
		}
	}
	return unknown
}
