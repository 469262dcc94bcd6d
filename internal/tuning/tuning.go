// Package tuning is the one door to the store's speed tricks. Each trick rests
// on an assumption about the scheduler, the kernel or the disk, and none
// changes what the store promises: with all of them off it does the same,
// slower.
//
// All tricks are on. A test or a benchmark switches some off when it is linked,
// by their names or with "all":
//
//	go test -ldflags='-X kvstore/internal/tuning.off=linger,zeros' ./...
package tuning

import (
	"slices"
	"strings"
)

// off names the tricks that are switched off, separated by commas. The linker
// sets it.
var off string

// The tricks. They are set before main begins and never changed.
var (
	// Handoff has callers relay answers to each other, and has the writer wait
	// for callers that are likely to write again (internal/handoff). It assumes
	// that waking a goroutine on another processor costs more than running it
	// on this one.
	Handoff = on("handoff")

	// Bundles sends the small writes of one processor's callers together
	// (internal/mailbox). It assumes that moving a cache line between
	// processors is what a channel costs.
	Bundles = on("bundles")

	// EarlySync has the disk begin to take a group before the writer waits for
	// it (internal/diskio). It assumes that the system can write while a thread
	// computes.
	EarlySync = on("earlysync")

	// Linger waits for the first part of a short sync without sleeping
	// (internal/diskio). It assumes that waking up takes about as long as a
	// fast disk's write.
	Linger = on("linger")

	// Zeros fills a segment with zeros before it is used (internal/diskio). It
	// assumes a file system whose journal needs a commit when space is written
	// for the first time.
	Zeros = on("zeros")

	// Pacing writes snapshots in small pieces with pauses (internal/diskio). It
	// assumes that a disk serves small syncs late while it is given large
	// writes.
	Pacing = on("pacing")

	// StagingHelper stages a large batch in a second goroutine (staging.go). It
	// assumes a processor that has nothing else to do.
	StagingHelper = on("staginghelper")

	// YieldFirst lets other goroutines run before a system call that takes long
	// (internal/vfs). It assumes Go's monitor, which takes up to 20 ms to
	// retake a processor from a system call.
	YieldFirst = on("yieldfirst")

	// DropCache gives back the page cache of segments that only a recovery
	// reads again (internal/wal). It assumes a hypervisor that is slow to give
	// memory to a guest.
	DropCache = on("dropcache")

	// Prefault has the system map pages of the table ahead of their first use
	// (internal/table). It assumes that a page fault costs more than a page of
	// a large request.
	Prefault = on("prefault")

	// GiveBack gives pages of the table back to the system in a goroutine
	// (internal/table). It assumes a processor that has nothing else to do.
	GiveBack = on("giveback")

	// Prefetch has the processor load cache lines ahead of their use by
	// instructions that do not wait for them (internal/table). It assumes that
	// a processor has more of these under way than loads.
	Prefetch = on("prefetch")

	// HugePages asks for huge pages for a large table (internal/table). It
	// assumes that the page table of a large table does not fit into a cache.
	HugePages = on("hugepages")
)

// Trick is the name of a trick, and whether it is on.
type Trick struct {
	Name string
	On   bool
}

// tricks are in the order above. They are set before main begins and never
// changed.
var tricks []Trick

// Tricks lists all tricks, for a program that measures what each is worth.
func Tricks() []Trick { return slices.Clone(tricks) }

// on reports whether a trick is on, and adds the trick to the list.
func on(name string) bool {
	t := Trick{name, !isOff(name)}
	tricks = append(tricks, t)
	return t.On
}

func isOff(name string) bool {
	for s := range strings.SplitSeq(off, ",") {
		if s == name || s == "all" {
			return true
		}
	}
	return false
}
