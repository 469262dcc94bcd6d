package kvstore_test

// This file is the order oracle (P1, P3, P5): rules about the order of file
// operations and answers, which must hold whether or not a crash reveals it.
// All workloads of the crash explorer pass through one.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"kvstore/internal/vfs"
)

// oracle follows the operations of one file system.
type oracle struct {
	mu       sync.Mutex        // guards what follows
	dirty    map[string]bool   // files with bytes that no successful fsync has covered
	groups   map[string]bool   // segments that were written to under their own name
	read     map[string]bool   // files read by the Open under way
	renamed  bool              // a name has changed since the directory was synced
	snapshot uint64            // the highest snapshot whose name is durable
	pending  uint64            // a snapshot whose name is not durable yet
	breach   func(rule string) // called for each broken rule
}

func newOracle(breach func(rule string)) *oracle {
	return &oracle{dirty: map[string]bool{}, groups: map[string]bool{}, read: map[string]bool{}, breach: breach}
}

func isSegment(name string) bool {
	return strings.HasPrefix(name, "wal-") && strings.HasSuffix(name, ".log")
}

// number returns the number in a file's name, 0 if there is none.
func number(name string) (n uint64) {
	_, digits, _ := strings.Cut(name, "-")
	_, _ = fmt.Sscanf(digits, "%020d", &n) // names without a number give 0
	return n
}

// happens is called before each operation that succeeds.
func (o *oracle) happens(op vfs.Op) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch op.Kind {
	case vfs.OpRead:
		if op.Name != "LOCK" {
			o.read[op.Name] = true
		}
	case vfs.OpCreate, vfs.OpAllocate, vfs.OpTruncate:
		o.dirty[op.Name] = true
	case vfs.OpWrite:
		o.dirty[op.Name] = true
		o.groups[op.Name] = o.groups[op.Name] || isSegment(op.Name)
	case vfs.OpSync:
		delete(o.dirty, op.Name)
	case vfs.OpRename:
		o.rename(op.Name, strings.TrimSuffix(op.Name, ".tmp"))
	case vfs.OpSyncDir:
		o.renamed = false
		o.snapshot = max(o.snapshot, o.pending)
	case vfs.OpRemove:
		o.remove(op.Name)
	case vfs.OpMkdir, vfs.OpRemoveDir, vfs.OpSyncParent, vfs.OpOpenDir, vfs.OpOpen, vfs.OpList, vfs.OpLock,
		vfs.OpCheckLock, vfs.OpSize,
		vfs.OpStartWrite, vfs.OpStartSync, vfs.OpWriteBack, vfs.OpForget:
	}
}

func (o *oracle) rename(from, to string) {
	if o.dirty[from] {
		o.breach("a file gets its name before it is synced: " + to)
	}
	delete(o.groups, to)
	delete(o.dirty, to)
	o.renamed = true
	if !isSegment(to) {
		o.pending = number(to)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(o.dirty)) {
		if isSegment(name) {
			o.breach(to + " gets its name before the end of " + name + " is durable")
		}
	}
}

func (o *oracle) remove(name string) {
	delete(o.dirty, name)
	switch {
	case strings.HasSuffix(name, ".tmp"):
	case o.renamed:
		o.breach(name + " is removed before the name of what replaces it is durable")
	case isSegment(name) && o.groups[name] && o.snapshot <= number(name):
		o.breach(name + " is removed without a durable snapshot of it")
	case !isSegment(name) && o.snapshot <= number(name):
		o.breach(name + " is removed without a later one")
	}
}

// unsynced reports whether a name has changed since the directory was synced.
func (o *oracle) unsynced() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.renamed
}

// acknowledges is called when a write with SyncWrites, or a Sync, has returned
// nil.
func (o *oracle) acknowledges() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(o.dirty)) {
		if isSegment(name) {
			o.breach("acknowledged before " + name + " is synced")
		}
	}
}

// opened is called when Open has returned a store.
func (o *oracle) opened() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(o.read)) {
		if o.dirty[name] {
			o.breach("opened before " + name + ", which was loaded, is synced")
		}
	}
	if o.renamed {
		o.breach("opened before the directory is synced")
	}
	clear(o.read)
}

// The oracle must notice each breach.
func TestOracleSeesBreaches(t *testing.T) {
	const seg1, seg2 = "wal-00000000000000000001.log", "wal-00000000000000000002.log"
	const snap2 = "snapshot-00000000000000000002.kvs"
	op := func(kind vfs.OpKind, name string) vfs.Op { return vfs.Op{Kind: kind, Name: name} }
	made := func(name string) []vfs.Op { // as it should be
		return []vfs.Op{
			op(vfs.OpCreate, name+".tmp"), op(vfs.OpWrite, name+".tmp"), op(vfs.OpSync, name+".tmp"),
			op(vfs.OpRename, name+".tmp"), op(vfs.OpSyncDir, ""),
		}
	}
	group := []vfs.Op{op(vfs.OpWrite, seg1), op(vfs.OpSync, seg1)}
	removed := []vfs.Op{op(vfs.OpRemove, seg1)}
	rows := []struct {
		name string
		ops  []vfs.Op
		then func(o *oracle)
		want string
	}{
		{
			"all in order", slices.Concat(made(seg1), group, made(seg2), made(snap2), removed),
			(*oracle).acknowledges, "",
		},
		{"no fsync", slices.Concat(made(seg1), group[:1]), (*oracle).acknowledges, "acknowledged before"},
		{"unsynced file named", append(made(seg1)[:2:2], op(vfs.OpRename, seg1+".tmp")), nil, "before it is synced"},
		{"end not durable", slices.Concat(made(seg1), group[:1], made(seg2)), nil, "before the end of"},
		{"no snapshot", slices.Concat(made(seg1), group, removed), nil, "without a durable snapshot"},
		{
			"snapshot's name not durable", slices.Concat(made(seg1), group, made(snap2)[:4], removed),
			nil, "is removed before the name",
		},
		{
			"loaded and not synced",
			[]vfs.Op{op(vfs.OpRead, seg1), op(vfs.OpWrite, seg1)},
			(*oracle).opened, "opened before",
		},
		{"directory not synced", made(seg1)[:4], (*oracle).opened, "opened before the directory"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var breaches []string
			o := newOracle(func(rule string) { breaches = append(breaches, rule) })
			for _, op := range row.ops {
				o.happens(op)
			}
			if row.then != nil {
				row.then(o)
			}
			got := strings.Join(breaches, "; ")
			if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
				t.Fatalf("breaches %q, want %q", got, row.want)
			}
		})
	}
}
