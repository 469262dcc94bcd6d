package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// engine is an open store. Values that it returns belong to the caller: whoever hands out memory of his own has to copy it, as
// kvstore does.
type engine interface {
	set(key string, value []byte) error
	get(key string) ([]byte, error)
	// batch writes all pairs with one commit.
	batch(keys []string, values [][]byte) error
	close() error
}

// What only some engines can do.
type (
	appendGetter interface {
		appendGet(dst []byte, key string) ([]byte, error)
	}
	multiGetter interface {
		// multiGet returns values in the order of keys, nil for those that are absent.
		multiGet(keys []string) ([][]byte, error)
	}
	scanner interface {
		// scan shows pairs in the order of their keys. They belong to the caller, as what get returns does.
		scan(within span, show func(key string, value []byte)) error
	}
	transactor interface {
		// transact reads keys and writes what next makes of their values, in a serializable transaction, which it repeats until it
		// is committed; runs is how often it ran.
		transact(keys []string, next func(value []byte) []byte) (runs int, err error)
	}
	snapshotter interface {
		// snapshot writes all pairs into a file while the engine serves.
		snapshot() error
	}
	crowdPreparer interface {
		// prepareCrowd does what an engine would otherwise do for each of so many goroutines while it is measured.
		prepareCrowd(goroutines int) error
	}
	syncCounter interface {
		// syncs counts from open the syncs of a log that made writes durable.
		syncs() uint64
	}
)

// span is what a scan is to show: keys from one on that begin with prefix.
type span struct {
	from, prefix string
	limit        int // how many pairs at most; 0 is no limit
}

// first is the lowest key that can be in the span.
func (s span) first() string { return max(s.from, s.prefix) }

// full reports whether so many pairs are all that are wanted.
func (s span) full(pairs int) bool { return s.limit > 0 && pairs >= s.limit }

var (
	errAbsent      = errors.New("key is absent")
	errUnsupported = errors.New("not supported")
)

// role says where an engine takes part.
type role int

const (
	subject       role = iota + 1 // what is measured: kvstore
	peer                          // wherever it can
	lonePeer                      // a peer's way for one writer, where it differs from that for many
	diskFloor                     // what the disk can do at best
	handoverFloor                 // what callers and one writer goroutine can do at best
	memoryFloor                   // what the memory can do at best
)

// spec is an engine that can be opened, and what the report says about how.
type spec struct {
	name   string
	role   role
	module string // its path, for the version; "" is none

	durable, relaxed string // the options of both modes, as open applies them

	// staysInside: an unsynced write that returned may be lost with the process.
	staysInside bool
	// otherProcess: its CPU time and memory are not those of this process.
	otherProcess bool
	// volatile: nothing is left after close.
	volatile bool

	// countsSyncs: it is a syncCounter.
	countsSyncs bool

	noScans        string // why it is no scanner; "" if it is one
	noTransactions string // why it is no transactor

	present func() error // why it cannot run; nil is always present
	open    func(dir string, durable bool) (engine, error)

	// openTransactional is for engines that need other options for transactions; nil is open.
	openTransactional func(dir string, durable bool) (engine, error)
}

// readable reports whether what was written can be read while the engine is open.
func (s spec) readable() bool { return s.role != diskFloor && s.role != handoverFloor }

func allSpecs() []spec {
	return []spec{
		kvstoreSpec(), pebbleSpec(), bboltSpec(), bboltUpdateSpec(), badgerSpec(), buntdbSpec(), goleveldbSpec(), redisSpec(),
		diskFloorSpec(), handoverFloorSpec(), mapFloorSpec(),
	}
}

// chooseSpecs returns those with the names in the list, all for "", without those that are not present, which missing tells.
// The subject is always there: without it there are no ratios. So are the floors.
func chooseSpecs(list string) (chosen []spec, missing []string, err error) {
	wanted := splitList(list)
	for _, name := range wanted {
		if !slices.ContainsFunc(allSpecs(), func(s spec) bool { return s.name == name }) {
			return nil, nil, fmt.Errorf("no engine is named %q", name)
		}
	}
	for _, s := range allSpecs() {
		isPeer := s.role == peer || s.role == lonePeer
		if isPeer && len(wanted) > 0 && !slices.Contains(wanted, s.name) {
			continue
		}
		if s.present != nil {
			if err := s.present(); err != nil {
				missing = append(missing, fmt.Sprintf("%s is left out: %v", s.name, err))
				continue
			}
		}
		chosen = append(chosen, s)
	}
	return chosen, missing, nil
}

func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
