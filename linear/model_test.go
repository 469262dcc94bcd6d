package linear

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// This file is a model of a store: its state, and the step of each operation
// and result from one state to the next. The checker looks for an order of the
// operations, consistent with the times they took, in which each operation
// gives the recorded result.

const (
	keyCount   = 6
	maxClients = 8

	// checkTimeout is far more than any history needs. If the checker gives up
	// on a history, the history is too long and the test fails.
	checkTimeout = time.Minute
)

// keyNames are the keys of a history. One is empty, and one is not text.
var keyNames = [keyCount]string{"", "a", "b", "\x00\xff\x80", "longer/key/with/parts", "f"}

// value identifies the write of a value. Except for empty values, all values of
// a history differ.
type value uint32

const (
	absent  value = 0
	empty   value = 1
	garbage value = math.MaxUint32 // a value that was never written

	// zero is the value of the number 0, which Add writes, and zero+n that of
	// n. Values that are not numbers are below.
	zero    value = 1 << 24
	numbers       = 1 << 16 // how many there are
)

// num returns the value's number, 0 if the key is absent. ok is false if the
// value is not a number.
func (v value) num() (n int, ok bool) {
	switch {
	case v == absent:
		return 0, true
	case v >= zero && v < zero+numbers:
		return int(v - zero), true
	default:
		return 0, false
	}
}

type kind string

const (
	opSet       kind = "set"
	opUntil     kind = "setUntil"
	opDelete    kind = "delete"
	opApply     kind = "apply"
	opAsync     kind = "async"
	opExpire    kind = "expire"
	opSwap      kind = "swap"   // CompareAndSwap
	opUpdate    kind = "update" // a transaction
	opDo        kind = "do"     // a function that the writer runs
	opDoAsync   kind = "doAsync"
	opAdd       kind = "add"
	opView      kind = "view" // several reads of a View
	opMultiGet  kind = "multiGet"
	opScan      kind = "scan"
	opGet       kind = "get"
	opHas       kind = "has"
	opAppendGet kind = "appendGet"
	opDeadline  kind = "deadline"
	opLen       kind = "len"
	opKeys      kind = "keys"
	opClose     kind = "close"
	opOpen      kind = "open" // of the next session, after a Close or a crash
	opPass      kind = "pass" // the store's clock passes a deadline
)

type write struct {
	Key   int
	Value value // absent deletes, unless Touch is set
	Until int64 `json:",omitempty"` // the deadline in ns since 1970, 0 for none
	Touch bool  `json:",omitempty"` // changes the deadline alone, if the key is there
}

// longAgo is a deadline that has always passed.
const longAgo = 1

// span is the range of a scan. Its bounds are indexes of boundNames, because a
// journal is JSON, which cannot hold keys that are not text.
type span struct {
	From, To, Prefix int
	Reverse          bool
	Limit            int
	Break            int // the loop breaks after Break pairs; 0: never
}

// boundNames are the bounds of ranges: the keys of a history, and names between
// and around them.
var boundNames = append(keyNames[:len(keyNames):len(keyNames)], "\x00", "az", "longer", "g", "\xff")

// of returns the pairs that a scan of the span must show.
func (r span) of(values [keyCount]value) (pairs []pair) {
	for key, v := range values {
		name, to := keyNames[key], boundNames[r.To]
		inRange := name >= boundNames[r.From] && (to == "" || name < to)
		if v != absent && inRange && strings.HasPrefix(name, boundNames[r.Prefix]) {
			pairs = append(pairs, pair{key, v})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(keyNames[a.Key], keyNames[b.Key]) })
	if r.Reverse {
		slices.Reverse(pairs)
	}
	for _, most := range []int{r.Limit, r.Break} {
		if most > 0 {
			pairs = pairs[:min(len(pairs), most)]
		}
	}
	return pairs
}

// pair is a key and the value that a read shows.
type pair struct {
	Key   int
	Value value
}

// txStep is one call in a transaction: Write, Scan or, without these, a Get of
// Key.
type txStep struct {
	Key   int    `json:",omitempty"`
	Write *write `json:",omitempty"`
	Scan  *span  `json:",omitempty"`
}

// op is the input of an operation.
type op struct {
	Kind   kind
	Client int
	Epoch  int     `json:",omitempty"` // the session's number
	Order  int     `json:",omitempty"` // numbers the writes of a client in a session, from 1
	Key    int     `json:",omitempty"` // of reads
	Until  int64   `json:",omitempty"` // of opPass
	Writes []write `json:",omitempty"`
	Old    value   `json:",omitempty"` // of a swap
	Delta  int     `json:",omitempty"` // of an add, whose only write has no value
	Scan   span    `json:",omitzero"`
	Open   int     `json:",omitempty"` // numbers the operations of a session without a certain end, from 1

	// Steps are of an update, a function, a view or a MultiGet. Its Writes are
	// those of the steps, or none if the function ends with an error.
	Steps []txStep `json:",omitempty"`
}

type outcome string

const (
	done    outcome = "done"
	none    outcome = "none"    // refused without an effect
	refused outcome = "refused" // an add to what is not a number
	closed  outcome = "closed"  // refused with ErrClosed
	unknown outcome = "unknown" // the context or the process ended: it happens before the session's end, or never
	failed  outcome = "failed"  // ErrFailed: not visible in this session; perhaps in the next one
	wrong   outcome = "wrong"   // a result that the contract does not allow
)

// result is the output of an operation.
type result struct {
	Outcome outcome
	Value   value  `json:",omitempty"` // of a read
	Until   int64  `json:",omitempty"` // of Deadline
	Count   int    `json:",omitempty"` // of Len
	Keys    uint32 `json:",omitempty"` // of Keys: a bit for each key
	Swapped bool   `json:",omitempty"` // of an expire: found
	Runs    int    `json:",omitempty"` // the number of attempts of an update or a function
	Error   string `json:",omitempty"`

	// Reads are the pairs of a scan, or of each step that reads, in the last
	// attempt.
	Reads [][]pair `json:",omitempty"`
}

// state is comparable, so that the checker recognizes states that it has seen.
type state struct {
	values [keyCount]value
	until  [keyCount]int64 // deadlines, none of which is up to now; 0 for none
	now    int64           // the latest deadline that the clock has passed, or 0
	order  [maxClients]int // the Order of each client's last commit in this session
	epoch  int
	closed bool

	// settled has a bit for each open operation of this session and of the one
	// before; the bit is set when the operation is over. Operations that never
	// happen are settled in the order of their numbers, right after the next
	// session's Open: a checker that had to try all orders would never end.
	settled [2]uint64
}

func (s state) step(o op, r result) (bool, state) {
	switch o.Kind {
	case opOpen:
		next := state{values: s.values, until: s.until, now: s.now, epoch: s.epoch + 1, settled: s.settled}
		next.settled[next.epoch%2] = 0
		return r.Outcome == done, next
	case opClose:
		if s.epoch > o.Epoch { // a crash interrupted it
			return s.never(o)
		}
		s.closed = true
		return r.Outcome == done || r.Outcome == unknown, s.settle(o)
	case opPass:
		if o.Until <= s.now {
			return false, s
		}
		s.now = o.Until
		for key, until := range s.until {
			s.put(write{Key: key, Value: s.values[key], Until: until})
		}
		return true, s
	case opGet, opAppendGet, opHas, opDeadline, opLen, opKeys, opScan:
		return s.shows(o, r), s
	case opMultiGet:
		return s.opened().reads(o, r), s
	case opUpdate, opDo, opDoAsync, opView:
		if r.Outcome == done && !s.reads(o, r) {
			return false, s
		}
	case opAdd:
		n, ok := s.values[o.Writes[0].Key].num()
		switch {
		case r.Outcome == refused:
			return !ok && !s.closed, s.settle(o)
		case r.Outcome == done && (!ok || r.Value != zero+value(n+o.Delta)):
			return false, s
		}
	case opSwap:
		if r.Outcome == done && r.Swapped != (s.values[o.Writes[0].Key] == o.Old) {
			return false, s
		}
	case opExpire:
		if r.Outcome == done && r.Swapped != (s.values[o.Writes[0].Key] != absent) {
			return false, s
		}
	case opSet, opUntil, opDelete, opApply, opAsync:
	}
	if o.Kind == opUpdate && r.Outcome == done && !s.writes(o) {
		return true, s // it has read, and made no commit
	}
	// The commits of a goroutine happen in the order of its calls.
	inOrder := s.epoch == o.Epoch && o.Order > s.order[o.Client]
	switch {
	case len(o.Writes) == 0:
		return r.Outcome != wrong && (r.Outcome != closed || s.closed), s
	case r.Outcome == none:
		return true, s.settle(o)
	case r.Outcome == closed:
		return s.closed, s
	case s.epoch > o.Epoch && (r.Outcome == unknown || r.Outcome == failed):
		return s.never(o)
	case r.Outcome == done, r.Outcome == unknown:
		return inOrder, s.commit(o)
	case r.Outcome == failed:
		return inOrder && s.closed, s.commit(o) // it may be in the log
	}
	return false, s
}

// never settles an operation that has not happened in its session.
func (s state) never(o op) (bool, state) {
	before := uint64(1)<<max(0, o.Open-1) - 1
	return s.settled[o.Epoch%2]&before == before, s.settle(o)
}

func (s state) settle(o op) state {
	if o.Open > 0 {
		s.settled[o.Epoch%2] |= 1 << (o.Open - 1)
	}
	return s
}

// shows reports whether a read may give this result. A closed store shows
// nothing.
func (s state) shows(o op, r result) bool {
	if s.closed {
		s.values = [keyCount]value{}
	}
	count, keys := 0, uint32(0)
	for key, v := range s.values {
		if v != absent {
			count++
			keys |= 1 << key
		}
	}
	if o.Kind == opGet || o.Kind == opAppendGet {
		return r.Value == s.values[o.Key]
	}
	if o.Kind == opHas {
		return (r.Value != absent) == (s.values[o.Key] != absent)
	}
	if o.Kind == opDeadline {
		v := s.values[o.Key]
		return (r.Value != absent) == (v != absent) && (v == absent || r.Until == s.until[o.Key])
	}
	if o.Kind == opLen {
		return r.Count == count
	}
	if o.Kind == opScan {
		return len(r.Reads) == 1 && slices.Equal(r.Reads[0], o.Scan.of(s.values))
	}
	return r.Keys == keys
}

// opened returns the state that reads of a store see which has no closed state:
// nothing is there.
func (s state) opened() state {
	if s.closed {
		s.values, s.closed = [keyCount]value{}, false
	}
	return s
}

// reads reports whether a transaction in this state reads the recorded pairs.
// It sees its own writes.
func (s state) reads(o op, r result) bool {
	if s.closed {
		return false
	}
	reads := r.Reads
	for _, step := range o.Steps {
		if w := step.Write; w != nil {
			s.put(*w)
			continue
		}
		want := []pair{{step.Key, s.values[step.Key]}}
		if step.Scan != nil {
			want = step.Scan.of(s.values)
		}
		if len(reads) == 0 || !slices.Equal(reads[0], want) {
			return false
		}
		reads = reads[1:]
	}
	return len(reads) == 0
}

// commit applies a write. The state decides whether a swap with an unknown
// answer happens, and what an add writes.
func (s state) commit(o op) state {
	switch {
	case o.Kind == opSwap && s.values[o.Writes[0].Key] != o.Old:
		o.Writes = nil
	case o.Kind == opAdd:
		key, sum := o.Writes[0].Key, s.values[o.Writes[0].Key]
		if n, ok := sum.num(); ok {
			sum = zero + value(n+o.Delta)
		}
		o.Writes = []write{{Key: key, Value: sum, Until: s.until[key]}}
	}
	for _, w := range o.Writes {
		s.put(w)
	}
	s.order[o.Client] = o.Order
	return s.settle(o)
}

// writes reports whether an operation writes anything: it may touch nothing but
// keys that are not there.
func (s state) writes(o op) bool {
	return slices.ContainsFunc(o.Writes, func(w write) bool { return !w.Touch || s.values[w.Key] != absent })
}

// put carries out a write.
func (s *state) put(w write) {
	switch {
	case w.Touch && s.values[w.Key] == absent:
		return
	case w.Touch:
		w.Value = s.values[w.Key]
	}
	if w.Value == absent || w.Until != 0 && (w.Until == longAgo || w.Until <= s.now) {
		w.Value, w.Until = absent, 0
	}
	s.values[w.Key], s.until[w.Key] = w.Value, w.Until
}

// wholeMap is the model of histories with batches. Its state is all keys,
// because a batch changes several of them in one step.
var wholeMap = porcupine.Model{
	Init: func() any { return state{} },
	Step: func(s, input, output any) (bool, any) { return s.(state).step(input.(op), output.(result)) },
	DescribeOperation: func(input, output any) string {
		return input.(op).String() + " → " + output.(result).describe(input.(op))
	},
	DescribeState: func(s any) string { return s.(state).String() },
}

// keyByKey is the model of histories in which each operation is on one key. The
// checker looks at one key at a time, which makes long histories cheap.
var keyByKey = func() porcupine.Model {
	m := wholeMap
	m.Partition = func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, keyCount)
		for _, o := range history {
			in := o.Input.(op)
			key := in.Key
			if len(in.Writes) > 0 {
				key = in.Writes[0].Key
			}
			parts[key] = append(parts[key], o)
		}
		return parts
	}
	return m
}()

// check fails the test if no store can have the history, and leaves a picture
// of the history.
func check(t *testing.T, model porcupine.Model, history []porcupine.Operation) {
	t.Helper()
	verdict := porcupine.CheckOperationsTimeout(model, history, checkTimeout)
	if verdict == porcupine.Ok {
		return
	}
	// t.TempDir would be removed at the end of the test.
	dir, err := os.MkdirTemp("", "kvstore-linear-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "history.html")
	_, info := porcupine.CheckOperationsVerbose(model, history, checkTimeout)
	if err := porcupine.VisualizePath(model, info, path); err != nil {
		t.Error(err)
	}
	for _, o := range history {
		if r := o.Output.(result); r.Outcome == wrong || r.Value == garbage {
			t.Logf("a wrong answer: %v → %v", o.Input, r.describe(o.Input.(op)))
		}
	}
	t.Fatalf("%s: a history of %d operations; look at file://%s", verdict, len(history), path)
}

func (o op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s(", o.Kind)
	switch {
	case o.Kind == opLen, o.Kind == opKeys, o.Kind == opClose, o.Kind == opOpen:
	case o.Kind == opScan:
		b.WriteString(o.Scan.String())
	case o.Kind == opPass:
		fmt.Fprint(&b, o.Until)
	case o.Kind == opSwap:
		fmt.Fprintf(&b, "%v: ", o.Old)
	case o.Kind == opAdd:
		fmt.Fprintf(&b, "%d: ", o.Delta)
	case len(o.Steps) > 0:
		for _, step := range o.Steps {
			switch {
			case step.Write != nil:
				fmt.Fprintf(&b, "%v ", step.Write)
			case step.Scan != nil:
				fmt.Fprintf(&b, "scan %v ", step.Scan)
			default:
				fmt.Fprintf(&b, "k%d ", step.Key)
			}
		}
		if o.Writes == nil && o.Kind != opView && o.Kind != opMultiGet {
			b.WriteString("and no commit")
		}
		o.Writes = nil
	case o.Order == 0 && len(o.Writes) == 0:
		fmt.Fprintf(&b, "k%d", o.Key)
	}
	for i, w := range o.Writes {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w.String())
	}
	b.WriteByte(')')
	return b.String()
}

func (w write) String() string {
	text := fmt.Sprintf("k%d", w.Key)
	if !w.Touch {
		text += "=" + w.Value.String()
	}
	if w.Until != 0 {
		text += fmt.Sprint(" until ", w.Until)
	}
	return text
}

func (r result) describe(o op) string {
	switch {
	case r.Error != "":
		return string(r.Outcome) + ": " + r.Error
	case o.Kind == opGet || o.Kind == opAppendGet || o.Kind == opHas:
		return r.Value.String()
	case o.Kind == opDeadline:
		return fmt.Sprint(r.Value, " until ", r.Until)
	case o.Kind == opLen:
		return fmt.Sprint(r.Count)
	case o.Kind == opKeys:
		return fmt.Sprintf("%0*b", keyCount, r.Keys)
	case o.Kind == opSwap, o.Kind == opExpire:
		return fmt.Sprint(r.Outcome, " ", r.Swapped)
	case o.Kind == opAdd:
		return fmt.Sprint(r.Outcome, " ", r.Value)
	case o.Kind == opScan || len(o.Steps) > 0:
		return fmt.Sprint(r.Outcome, " ", r.Reads)
	}
	return string(r.Outcome)
}

func (r span) String() string {
	return fmt.Sprintf("[%q, %q) of %q, reverse %v, limit %d, break after %d",
		boundNames[r.From], boundNames[r.To], boundNames[r.Prefix], r.Reverse, r.Limit, r.Break)
}

func (v value) String() string {
	if n, ok := v.num(); ok && v != absent {
		return fmt.Sprint("number ", n)
	}
	switch v { //nolint:exhaustive // zero is a number
	case absent:
		return "-"
	case empty:
		return "empty"
	case garbage:
		return "GARBAGE"
	}
	return fmt.Sprint(uint32(v))
}

func (s state) String() string {
	text := fmt.Sprintf("session %d %v until %v", s.epoch, s.values, s.until)
	if s.closed {
		text += " closed"
	}
	return text
}
