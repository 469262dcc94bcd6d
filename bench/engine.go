package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// engine is an open store. The values that it returns belong to the caller: an
// engine must copy a value that is in its own memory, as kvstore does.
type engine interface {
	set(key string, value []byte) error
	get(key string) ([]byte, error)
	// batch writes all pairs with one commit.
	batch(keys []string, values [][]byte) error
	close() error
}

// Only some engines implement these.
type (
	appendGetter interface {
		appendGet(dst []byte, key string) ([]byte, error)
	}
	multiGetter interface {
		// multiGet returns values in the order of keys, nil for those that are
		// absent.
		multiGet(keys []string) ([][]byte, error)
	}
	scanner interface {
		// scan shows pairs in the order of their keys. They belong to the
		// caller, like the values that get returns.
		scan(within span, show func(key string, value []byte)) error
	}
	transactor interface {
		// transact reads keys and replaces each value with next(value), in a
		// serializable transaction. It repeats the transaction until it
		// commits; runs is the number of attempts.
		transact(keys []string, next func(value []byte) []byte) (runs int, err error)
	}
	adder interface {
		// add adds delta to the number in a key's value and returns the sum. An
		// absent key counts as 0.
		add(key string, delta int64) (int64, error)
	}
	expirer interface {
		// setFor is set of a volatile key: one that is gone after ttl.
		setFor(key string, value []byte, ttl time.Duration) error
		// batchUntil is batch of volatile keys, with a deadline for each.
		batchUntil(keys []string, values [][]byte, deadlines []time.Time) error
	}
	toucher interface {
		// expire gives a key that is present another deadline.
		expire(key string, deadline time.Time) error
	}
	sweeper interface {
		// undeleted returns a number that falls by one whenever the engine
		// deletes a volatile key because its deadline has passed. A key that
		// is only hidden from readers still counts. While no key is added or
		// deleted otherwise, nothing else changes the number.
		undeleted() (int, error)
	}
	memoryCounter interface {
		// allocated returns the memory of an engine that runs in another
		// process.
		allocated() (uint64, error)
	}
	snapshotter interface {
		// snapshot writes all pairs into a file while the engine serves.
		snapshot() error
	}
	crowdPreparer interface {
		// prepareCrowd does the work that an engine would otherwise do for each
		// of n goroutines while it is measured.
		prepareCrowd(n int) error
	}
	syncCounter interface {
		// syncs counts the syncs of the log that have made writes durable since
		// the engine was opened.
		syncs() uint64
	}
)

// span is the range of a scan: the keys that are at least from and begin with
// prefix.
type span struct {
	from, prefix string
	limit        int // the largest number of pairs; 0 is no limit
}

// first is the lowest key that can be in the span.
func (s span) first() string { return max(s.from, s.prefix) }

// full reports whether a scan has shown enough pairs.
func (s span) full(pairs int) bool { return s.limit > 0 && pairs >= s.limit }

var (
	errAbsent      = errors.New("key is absent")
	errUnsupported = errors.New("not supported")
)

// role determines the workloads that an engine takes part in.
type role int

const (
	subject       role = iota + 1 // kvstore
	peer                          // another store
	lonePeer                      // a peer with other options, which suit a lone writer
	diskFloor                     // the best that the disk can do
	handoverFloor                 // the best that callers and one writer goroutine can do
	memoryFloor                   // the best that memory can do
)

// spec describes an engine: how to open it, and what the report says about it.
type spec struct {
	name   string
	role   role
	module string // its module path, for the version; "" is none

	durable, relaxed string // the options that open applies in each mode

	// staysInside: an unsynced write may be lost if the process dies after the
	// write has returned.
	staysInside bool
	// otherProcess: the engine runs in another process, so its CPU time and
	// memory cannot be measured here.
	otherProcess bool
	// volatile: the engine loses its data when it is closed.
	volatile bool

	// countsSyncs: the engine is a syncCounter.
	countsSyncs bool

	noScans        string // why the engine is no scanner; "" if it is one
	noTransactions string // why the engine is no transactor

	adds    bool   // the engine is an adder
	expires bool   // the engine is an expirer
	noSweep string // why an expirer is no sweeper; "" if it is one
	noTouch string // why an expirer is no toucher; "" if it is one

	present func() error // returns why the engine cannot run; nil: it always can
	open    func(dir string, durable bool) (engine, error)

	// openTransactional is for engines that need other options for
	// transactions. If it is nil, open is used.
	openTransactional func(dir string, durable bool) (engine, error)
}

// readable reports whether get works.
func (s spec) readable() bool { return s.role != diskFloor && s.role != handoverFloor }

func allSpecs() []spec {
	return []spec{
		kvstoreSpec(),
		pebbleSpec(), bboltSpec(), bboltUpdateSpec(), badgerSpec(), buntdbSpec(), goleveldbSpec(), redisSpec(),
		diskFloorSpec(), handoverFloorSpec(), mapFloorSpec(),
	}
}

// chooseSpecs returns the peers in the list, or all for "", and always kvstore
// and the floors, without which there are no ratios. It leaves out engines that
// cannot run; missing says which, and why.
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
