package linear

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"kvstore"
)

// This file has the goroutines that use a store, the plans that they carry out,
// and the record of the results.

// target is the store that a history is recorded from. It may have a planted
// fault.
type target interface {
	Set(key string, value []byte) error
	SetUntil(key string, value []byte, deadline time.Time) error
	Expire(key string, deadline time.Time) (bool, error)
	Delete(key string) error
	Get(key string) ([]byte, bool)
	Deadline(key string) (time.Time, bool)
	Now() time.Time
	Has(key string) bool
	AppendGet(dst []byte, key string) ([]byte, bool)
	Len() int
	Keys() []string
	Close() error
	apply(ctx context.Context, writes []write) error
	async(ctx context.Context, writes []write) (wait func(context.Context) error)
	Scan(r kvstore.Range) iter.Seq2[string, []byte]
	CompareAndSwap(key string, old, next []byte) (bool, error)
	update(ctx context.Context, fn func(tx txn) error) error
	do(ctx context.Context, fn func(tx txn) error) error
	doAsync(ctx context.Context, fn func(tx txn) error) (wait func(context.Context) error)
	Add(key string, delta int64) (int64, error)
	MultiGet(keys []string) [][]byte
	View() (*kvstore.View, error)
}

// txn is a transaction. It may have a planted fault.
type txn interface {
	Get(key string) ([]byte, bool)
	Scan(r kvstore.Range) iter.Seq2[string, []byte]
	Set(key string, value []byte)
	SetUntil(key string, value []byte, deadline time.Time)
	Expire(key string, deadline time.Time) bool
	Delete(key string)
}

// real is the target without a fault.
type real struct{ *kvstore.Store }

func (r real) apply(ctx context.Context, writes []write) error {
	var b kvstore.Batch
	fill(&b, writes)
	err := r.Apply(ctx, &b)
	reuse(&b) // even if ctx has ended and the command is still queued
	return err
}

func (r real) async(ctx context.Context, writes []write) func(context.Context) error {
	var b kvstore.Batch
	fill(&b, writes)
	commit := r.ApplyAsync(ctx, &b)
	reuse(&b)
	return commit.Wait
}

func (r real) update(ctx context.Context, fn func(tx txn) error) error {
	return r.Update(ctx, func(tx *kvstore.Tx) error { return fn(tx) })
}

// do returns an error also if the call panics or ends its goroutine.
func (r real) do(ctx context.Context, fn func(tx txn) error) error {
	return caught(func() error {
		return r.Do(ctx, func(tx *kvstore.Tx) error { return fn(tx) })
	})
}

// caught returns the error of a call, a panic as a PanicError, and errExited
// after runtime.Goexit.
func caught(call func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errExited
		defer func() {
			switch value := recover().(type) {
			case nil:
			case *kvstore.PanicError:
				err = value
			default:
				err = &kvstore.PanicError{Value: value}
			}
			result <- err
		}()
		err = call()
	}()
	return <-result
}

func (r real) doAsync(ctx context.Context, fn func(tx txn) error) func(context.Context) error {
	return r.DoAsync(ctx, func(tx *kvstore.Tx) error { return fn(tx) }).Wait
}

// errExited says that a call of Do has called runtime.Goexit.
var errExited = errors.New("goexit")

func fill(b *kvstore.Batch, writes []write) {
	for _, w := range writes {
		if w.Value == absent {
			b.Delete(keyNames[w.Key])
			continue
		}
		buf := encode(w.Key, w.Value)
		if w.Until == 0 {
			b.Set(keyNames[w.Key], buf)
		} else {
			b.SetUntil(keyNames[w.Key], buf, moment(w.Until))
		}
		scribble(buf)
	}
}

// reuse overwrites the batch's memory: the store must have its own copy (P9).
func reuse(b *kvstore.Batch) {
	b.Reset()
	for key := range keyCount {
		b.Set(keyNames[key], bytes.Repeat([]byte{0xEE}, 300))
	}
}

func scribble(b []byte) {
	b = b[:cap(b)]
	for i := range b {
		b[i] = 0xEE
	}
}

// encode returns the bytes of a value, which identify its write and its key.
// They are up to some KiB long.
func encode(key int, v value) []byte {
	if v == empty {
		return nil
	}
	if n, ok := v.num(); ok {
		return strconv.AppendInt(nil, int64(n), 10)
	}
	size := int(v * 31 % 80)
	if v%7 == 0 {
		size = int(v * 97 % 6000)
	}
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, 5+size), uint32(v))
	buf = append(buf, byte(key))
	for i := range size {
		buf = append(buf, byte(v)+byte(i))
	}
	return buf
}

// decode is the inverse of encode. It overwrites b afterwards, because b
// belongs to the caller (P9).
func decode(key int, b []byte, ok bool) value {
	defer scribble(b)
	switch {
	case !ok && b == nil:
		return absent
	case !ok, b == nil:
		return garbage
	case len(b) == 0:
		return empty
	}
	if n, err := strconv.Atoi(string(b)); err == nil { // other values begin with a 0 byte
		return zero + value(n)
	}
	if len(b) < 5 {
		return garbage
	}
	if v := value(binary.BigEndian.Uint32(b)); v > empty && bytes.Equal(b, encode(key, v)) {
		return v
	}
	return garbage
}

// moment returns the time of a deadline, the zero time for none.
func moment(until int64) time.Time {
	if until == 0 {
		return time.Time{}
	}
	return time.Unix(0, until)
}

// ---- plans ----

// planned is an operation with all choices made in advance, so that a seed
// repeats them. A seed cannot repeat the choices of the scheduler.
type planned struct {
	op
	Context   string `json:",omitempty"` // of calls that take one: "ended" before the call, or a "race" with it
	Spin      int    `json:",omitempty"` // how long the race waits
	Impatient bool   `json:",omitempty"` // async: call Wait with an ended context first
	Pending   int    `json:",omitempty"` // the largest number of the client's commits under way afterwards
	Abort     string `json:",omitempty"` // update: return an "error"; functions also "panic", or "exit"
	Blind     bool   `json:",omitempty"` // swap: expect Old, and not the value that the client has just read

	// Rivals are writes of another goroutine, of which an update waits for one
	// in each of its first runs, so that it loses and takes a turn.
	Rivals []planned `json:",omitempty"`
}

// shape is the kind of a history.
type shape struct {
	clients, ops int
	singles      bool // only operations on one key
	closes       bool // a client closes the store while the others go on
	big          bool // no small values
	transactions bool // mostly transactions, swaps and scans
	serial       bool // functions that the writer runs, adds, and all other kinds, on few keys
}

// hotKeys is how many keys a history of functions has.
const hotKeys = 3

// key chooses a key.
func (p *planner) key(s shape) int {
	if s.serial {
		return p.IntN(hotKeys)
	}
	return p.IntN(keyCount)
}

// planner makes choices.
type planner struct {
	*rand.Rand
	last value // the latest value used in the history

	soon []int64 // deadlines that pass while clients use the store
}

func (p *planner) session(epoch int, s shape) [][]planned {
	plans := make([][]planned, s.clients)
	for client := range plans {
		order := 0
		for range s.ops {
			o := p.operation(s)
			o.Client, o.Epoch = client, epoch
			for i := range o.Rivals { // they commit before the update, or not at all
				order++
				o.Rivals[i].Client, o.Rivals[i].Epoch, o.Rivals[i].Order = client, epoch, order
			}
			if len(o.Writes) > 0 {
				order++
				o.Order = order
			}
			plans[client] = append(plans[client], o)
		}
	}
	if s.closes {
		plans[0][p.IntN(s.ops)] = planned{op: op{Kind: opClose, Epoch: epoch}}
	}
	return plans
}

func (p *planner) operation(s shape) planned {
	key := p.key(s)
	o := planned{op: op{Key: key}, Pending: p.IntN(4)}
	kinds := []kind{
		opSet, opSet, opDelete, opGet, opGet, opHas, opAppendGet,
		opApply, opApply, opAsync, opAsync, opLen, opLen, opKeys,
	}
	kinds = append(kinds, opScan, opSwap, opUpdate, opUpdate, opUntil, opExpire, opDeadline)
	switch {
	case s.singles:
		kinds = append(kinds[:7], opUntil, opExpire, opDeadline)
	case s.transactions:
		kinds = []kind{
			opSet, opDelete, opGet, opApply, opAsync, opAsync, opScan, opScan, opScan,
			opSwap, opSwap, opSwap, opUpdate, opUpdate, opUpdate, opUpdate, opUntil, opExpire,
		}
	case s.serial:
		kinds = []kind{
			opSet, opDelete, opGet, opApply, opAsync, opScan, opSwap, opUpdate, opUpdate, opView, opMultiGet,
			opDo, opDo, opDo, opDoAsync, opDoAsync, opDoAsync, opAdd, opAdd, opAdd, opAdd,
			opUntil, opExpire, opDeadline,
		}
	}
	if p.soon != nil {
		kinds = append(slices.DeleteFunc(kinds, func(k kind) bool {
			return k == opDeadline || k == opSwap || k == opUpdate
		}), opUntil, opUntil, opExpire, opExpire, opGet, opGet)
	}
	switch o.Kind = kinds[p.IntN(len(kinds))]; o.Kind {
	case opSet:
		o.Key, o.Writes = 0, []write{{Key: key, Value: p.value(s)}}
	case opUntil:
		o.Key, o.Writes = 0, []write{{Key: key, Value: p.value(s), Until: p.until()}}
	case opExpire:
		o.Key, o.Writes = 0, []write{{Key: key, Until: p.until(), Touch: true}}
	case opDelete:
		o.Key, o.Writes = 0, []write{{Key: key}}
	case opApply, opAsync:
		p.batch(&o, s)
	case opSwap:
		o.Key, o.Writes = 0, []write{{Key: key, Value: p.maybe(s)}}
		if o.Blind = p.IntN(4) == 0; o.Blind {
			o.Old = value(p.IntN(2)) // absent or empty
		}
	case opScan:
		o.Key, o.Scan = 0, p.span()
	case opUpdate, opDo, opDoAsync:
		p.transaction(&o, s)
	case opAdd:
		o.Key, o.Writes, o.Delta = 0, []write{{Key: key}}, p.IntN(3)
	case opView, opMultiGet:
		o.Key = 0
		for range 1 + p.IntN(4) {
			o.Steps = append(o.Steps, txStep{Key: p.key(s)})
		}
		if o.Kind == opView {
			r := p.span()
			o.Steps = append(o.Steps, txStep{Scan: &r})
		}
	case opGet, opHas, opAppendGet, opDeadline, opLen, opKeys, opClose, opOpen, opPass:
	}
	return o
}

// batch plans the writes of a batch.
func (p *planner) batch(o *planned, s shape) {
	o.Key = 0
	for range p.IntN(5) - p.IntN(2)*p.IntN(2) {
		w := write{Key: p.key(s)}
		if p.IntN(3) > 0 {
			w.Value = p.value(s)
			w.Until = p.until()
		}
		o.Writes = append(o.Writes, w)
	}
	switch p.IntN(6) {
	case 0:
		o.Context, o.Spin = "race", p.IntN(30)
	case 1:
		o.Context = "ended"
	}
	o.Impatient = o.Kind == opAsync && p.IntN(4) == 0
}

// transaction plans what the function of an update, or of a Do, does.
func (p *planner) transaction(o *planned, s shape) {
	o.Key = 0
	if p.IntN(6) == 0 {
		o.Abort = "error"
		if o.Kind != opUpdate {
			o.Abort = []string{"error", "panic", "exit"}[p.IntN(3)]
		}
	}
	for range 1 + p.IntN(5) {
		step := txStep{Key: p.key(s)}
		switch p.IntN(5) {
		case 0:
			r := p.span()
			step = txStep{Scan: &r}
		case 1, 2:
			step = txStep{Write: &write{Key: step.Key, Value: p.maybe(s), Until: p.until(), Touch: p.IntN(4) == 0}}
		}
		o.Steps = append(o.Steps, step)
	}
	if o.Kind == opUpdate && s.serial && p.IntN(4) == 0 {
		p.rivals(o, s)
	}
	for _, step := range o.Steps {
		if step.Write != nil && o.Abort == "" {
			o.Writes = append(o.Writes, *step.Write)
		}
	}
	switch o.Spin = p.IntN(60); p.IntN(8) {
	case 0:
		o.Context = "race"
	case 1:
		o.Context = "ended"
	}
	if o.Kind != opUpdate && o.Context == "" {
		o.Spin = 0 // the writer waits for it
	}
}

// rivals has an update lose four times.
func (p *planner) rivals(o *planned, s shape) {
	key := p.key(s)
	o.Steps = append([]txStep{{Key: key}}, o.Steps...)
	o.Steps = append(o.Steps, txStep{Write: &write{Key: p.key(s), Value: p.value(s)}})
	for range 4 {
		o.Rivals = append(o.Rivals, planned{op: op{Kind: opSet, Writes: []write{{Key: key, Value: p.value(s)}}}})
	}
}

// maybe returns a value, or absent for a deletion.
func (p *planner) maybe(s shape) value {
	if p.IntN(3) == 0 {
		return absent
	}
	return p.value(s)
}

// until returns a deadline that has passed, or is far away, or none. If there
// are some that pass in the session, it is mostly one of these.
func (p *planner) until() int64 {
	far := time.Date(2200, 1, 1, p.IntN(3), 0, 0, 0, time.UTC).UnixNano()
	if p.soon != nil && p.IntN(3) > 0 {
		return p.soon[p.IntN(len(p.soon))]
	}
	return []int64{0, 0, 0, far, far, far, longAgo}[p.IntN(7)]
}

func (p *planner) span() (r span) {
	r.Reverse = p.IntN(2) == 0
	if p.IntN(2) == 0 {
		r.From = p.IntN(len(boundNames))
	}
	if p.IntN(2) == 0 {
		r.To = p.IntN(len(boundNames))
	}
	if p.IntN(6) == 0 {
		r.Prefix = p.IntN(len(boundNames))
	}
	if p.IntN(3) == 0 {
		r.Limit = 1 + p.IntN(3)
	}
	if p.IntN(3) == 0 {
		r.Break = 1 + p.IntN(3)
	}
	return r
}

func (p *planner) value(s shape) value {
	if p.IntN(12) == 0 && !s.big {
		return empty
	}
	p.last = max(p.last+1, empty+1)
	for s.big && p.last%7 != 0 {
		p.last++
	}
	return p.last
}

// readAll reads every key, Len and Keys.
func readAll(epoch int) []planned {
	var plan []planned
	for key := range keyCount {
		plan = append(plan, planned{op: op{Kind: opGet, Key: key, Epoch: epoch}})
	}
	return append(plan, planned{op: op{Kind: opLen, Epoch: epoch}}, planned{op: op{Kind: opKeys, Epoch: epoch}})
}

// ---- execution ----

// journal is one client's part of a history. If it has a file, it survives the
// process. Times are from the clock: a shared counter would order the
// goroutines, and hide races from the race detector.
type journal struct {
	base time.Time
	ops  []porcupine.Operation // Return < 0: no answer yet
	file io.Writer
	tick func() // called after each line of the file
}

// line is a call, which has Op, or an answer, which has Result.
type line struct {
	Index  int
	At     int64
	Op     *op     `json:",omitempty"`
	Result *result `json:",omitempty"`
}

func (j *journal) call(o op) (index int) {
	at := time.Since(j.base).Nanoseconds()
	j.ops = append(j.ops, porcupine.Operation{
		ClientId: o.Client, Input: o, Output: result{Outcome: unknown}, Call: at, Return: -1,
	})
	j.write(line{Index: len(j.ops) - 1, At: at, Op: &o})
	return len(j.ops) - 1
}

func (j *journal) answer(index int, r result) {
	at := time.Since(j.base).Nanoseconds()
	j.ops[index].Return, j.ops[index].Output = at, r
	j.write(line{Index: index, At: at, Result: &r})
}

func (j *journal) write(l line) {
	if j.file == nil {
		return
	}
	text, err := json.Marshal(l)
	if err == nil {
		_, err = j.file.Write(append(text, '\n')) // one write without a buffer: it survives a kill
	}
	if err != nil {
		panic(err)
	}
	j.tick()
}

// runClients carries out the plans concurrently, and returns when all have
// ended.
func runClients(s target, plans [][]planned, journals []*journal) {
	var clients sync.WaitGroup
	start := make(chan struct{})
	for i, plan := range plans {
		clients.Go(func() {
			<-start
			c := client{store: s, journal: journals[i]}
			for _, p := range plan {
				c.do(p)
				if len(c.pending) > p.Pending {
					c.wait()
				}
			}
			c.wait()
		})
	}
	close(start)
	clients.Wait()
}

type client struct {
	store   target
	journal *journal
	pending []pending
}

// pending is an ApplyAsync or a DoAsync that the client has not waited for yet.
type pending struct {
	planned
	index int
	wait  func(context.Context) error
	judge func(error) result
}

var endedContext = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (c *client) do(p planned) {
	if p.Kind == opSwap && !p.Blind {
		look := op{Kind: opGet, Client: p.Client, Epoch: p.Epoch, Key: p.Writes[0].Key}
		index := c.journal.call(look)
		r := c.read(look)
		c.journal.answer(index, r)
		p.Old = r.Value
	}
	ctx, join := p.context()
	defer join()
	index := c.journal.call(p.op)
	var err error
	switch p.Kind {
	case opAsync:
		wait := c.store.async(ctx, p.Writes)
		judge := func(err error) result { return judge(err, p) }
		c.pending = append(c.pending, pending{p, index, wait, judge})
		return
	case opSet:
		buf := encode(p.Writes[0].Key, p.Writes[0].Value)
		err = c.store.Set(keyNames[p.Writes[0].Key], buf)
		scribble(buf)
	case opUntil:
		buf := encode(p.Writes[0].Key, p.Writes[0].Value)
		err = c.store.SetUntil(keyNames[p.Writes[0].Key], buf, moment(p.Writes[0].Until))
		scribble(buf)
	case opExpire:
		var found bool
		found, err = c.store.Expire(keyNames[p.Writes[0].Key], moment(p.Writes[0].Until))
		r := judge(err, p)
		r.Swapped = found
		c.journal.answer(index, r)
		return
	case opDelete:
		err = c.store.Delete(keyNames[p.Writes[0].Key])
	case opApply:
		err = c.store.apply(ctx, p.Writes)
	case opClose:
		if err = c.store.Close(); errors.Is(err, kvstore.ErrFailed) {
			err = nil
		}
	case opSwap:
		w := p.Writes[0]
		old, next := p.Old.bytes(w.Key), w.Value.bytes(w.Key)
		var swapped bool
		swapped, err = c.store.CompareAndSwap(keyNames[w.Key], old, next)
		scribble(old)
		scribble(next)
		r := judge(err, p)
		r.Swapped = swapped
		c.journal.answer(index, r)
		return
	case opUpdate:
		f := &function{planned: p, rival: c.rival}
		c.journal.answer(index, f.judge(c.store.update(ctx, f.run)))
		return
	case opDo:
		f := &function{planned: p}
		c.journal.answer(index, f.judge(c.store.do(ctx, f.run)))
		return
	case opDoAsync:
		f := &function{planned: p}
		wait := c.store.doAsync(ctx, f.run)
		c.pending = append(c.pending, pending{p, index, wait, f.judge})
		return
	case opAdd:
		var sum int64
		sum, err = c.store.Add(keyNames[p.Writes[0].Key], int64(p.Delta))
		r := judge(err, p)
		if r.Outcome == done {
			r.Value = zero + value(sum)
		}
		c.journal.answer(index, r)
		return
	case opView:
		c.journal.answer(index, c.view(p))
		return
	case opMultiGet:
		c.journal.answer(index, c.multiGet(p))
		return
	case opGet, opHas, opAppendGet, opDeadline, opLen, opKeys, opScan, opOpen, opPass:
		c.journal.answer(index, c.read(p.op))
		return
	}
	c.journal.answer(index, judge(err, p))
}

var errAborted = errors.New("aborted")

// function is what an update or a Do is given, and what it has done.
type function struct {
	planned
	rival func(p planned) // nil for a Do
	runs  int
	reads [][]pair // of the last run
}

func (f *function) run(tx txn) error {
	f.runs++
	f.reads = f.transact(tx)
	if f.runs <= len(f.Rivals) {
		f.rival(f.Rivals[f.runs-1])
	}
	switch f.Abort {
	case "error":
		return errAborted
	case "panic":
		panic(errAborted)
	case "exit":
		runtime.Goexit()
	}
	return nil
}

// judge returns the outcome. The function does not run any more.
func (f *function) judge(err error) result {
	r := judge(err, f.planned)
	if f.Kind != opUpdate {
		switch {
		case f.runs > 1, f.runs > 0 && r.Outcome == none, f.runs == 0 && r.Outcome == done:
			r = result{Outcome: wrong, Error: fmt.Sprintf("the function ran %d times: %v", f.runs, err)}
		case f.runs == 0 && r.Outcome == unknown: // it never runs
			r.Outcome = none
		}
	}
	r.Runs = f.runs
	if r.Outcome == done {
		r.Reads = f.reads
	}
	return r
}

// rival carries out a write in another goroutine, and waits for it.
func (c *client) rival(p planned) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.do(p)
	}()
	<-over
}

// view reads a view, which has one state.
func (c *client) view(p planned) result {
	v, err := c.store.View()
	if err != nil {
		return judge(err, p)
	}
	defer func() { _ = v.Close() }()
	for range p.Spin {
		runtime.Gosched()
	}
	r := result{Outcome: done}
	for _, step := range p.Steps {
		if step.Scan != nil {
			r.Reads = append(r.Reads, step.Scan.take(v.Scan))
			continue
		}
		b, ok := v.Get(keyNames[step.Key])
		r.Reads = append(r.Reads, []pair{{step.Key, decode(step.Key, b, ok)}})
	}
	return r
}

// multiGet reads several keys, as they are at one moment.
func (c *client) multiGet(p planned) result {
	var names []string
	for _, step := range p.Steps {
		names = append(names, keyNames[step.Key])
	}
	r := result{Outcome: done}
	for i, b := range c.store.MultiGet(names) {
		r.Reads = append(r.Reads, []pair{{p.Steps[i].Key, decode(p.Steps[i].Key, b, b != nil)}})
	}
	return r
}

// bytes returns the value as CompareAndSwap expects it.
func (v value) bytes(key int) []byte {
	if v == absent {
		return nil
	}
	return append([]byte{}, encode(key, v)...)
}

// transact is the function of a transaction. It carries out the steps once and
// returns what they read.
func (p planned) transact(tx txn) (reads [][]pair) {
	for _, step := range p.Steps {
		for range p.Spin {
			runtime.Gosched() // other commits may happen between two steps
		}
		switch w := step.Write; {
		case w != nil && w.Touch:
			tx.Expire(keyNames[w.Key], moment(w.Until))
		case w != nil && w.Value == absent:
			tx.Delete(keyNames[w.Key])
		case w != nil:
			buf := encode(w.Key, w.Value)
			if w.Until == 0 {
				tx.Set(keyNames[w.Key], buf)
			} else {
				tx.SetUntil(keyNames[w.Key], buf, moment(w.Until))
			}
			scribble(buf)
		case step.Scan != nil:
			reads = append(reads, step.Scan.take(tx.Scan))
		default:
			b, ok := tx.Get(keyNames[step.Key])
			reads = append(reads, []pair{{step.Key, decode(step.Key, b, ok)}})
		}
	}
	return reads
}

// take scans the span and returns the pairs that the scan shows.
func (r span) take(scan func(kvstore.Range) iter.Seq2[string, []byte]) (pairs []pair) {
	all := scan(kvstore.Range{
		From: boundNames[r.From], To: boundNames[r.To], Prefix: boundNames[r.Prefix],
		Reverse: r.Reverse, Limit: r.Limit,
	})
	for name, b := range all {
		key := slices.Index(keyNames[:], name)
		pairs = append(pairs, pair{key, decode(key, b, true)}) // an unknown key is -1, which no model has
		if len(pairs) == r.Break {
			break
		}
	}
	return pairs
}

// context returns the context of the call, and a function that waits for the
// goroutine that may end it.
func (p planned) context() (context.Context, func()) {
	switch p.Context {
	case "ended":
		return endedContext, func() {}
	case "race":
		ctx, cancel := context.WithCancel(context.Background())
		var racer sync.WaitGroup
		racer.Go(func() {
			for range p.Spin {
				runtime.Gosched()
			}
			cancel()
		})
		return ctx, racer.Wait
	}
	return context.Background(), func() {}
}

func (c *client) wait() {
	for _, p := range c.pending {
		if p.Impatient {
			if err := p.wait(endedContext); errors.Is(err, context.Canceled) {
				runtime.Gosched() // the commit goes on
			}
		}
		c.journal.answer(p.index, p.judge(p.wait(context.Background())))
	}
	c.pending = c.pending[:0]
}

// judge returns the outcome that a write's error stands for.
func judge(err error, p planned) result {
	r := result{Outcome: wrong}
	if err != nil {
		r.Error = err.Error()
	}
	switch {
	case p.Context == "ended" && (len(p.Writes) > 0 || len(p.Steps) > 0) && err == nil:
		r.Error = "nil, though the context had ended before the call"
	case p.Abort != "" && err == nil:
		r.Error = "nil, though the function has not returned nil"
	case p.Abort != "" && p.aborted(err):
		r = result{Outcome: done}
	case err == nil:
		r.Outcome = done
	case errors.Is(err, kvstore.ErrConflict):
		// An update repeats until its context ends.
		if p.Kind == opUpdate && p.Context == "race" && errors.Is(err, context.Canceled) {
			r.Outcome = none
		}
	case errors.Is(err, kvstore.ErrClosed):
		r.Outcome = closed
	case errors.Is(err, kvstore.ErrFailed):
		r.Outcome = failed
	case errors.Is(err, kvstore.ErrNotNumber) && p.Kind == opAdd:
		r.Outcome = refused
	case errors.Is(err, context.Canceled) && (p.Context == "ended" || p.Context == "race" && p.isAsync()):
		r.Outcome = none // the write was not queued, and the function has not run
	case errors.Is(err, context.Canceled) && p.Context == "race":
		r.Outcome = unknown
	}
	return r
}

func (p planned) isAsync() bool { return p.Kind == opAsync || p.Kind == opDoAsync }

// aborted reports whether err is what the function's end makes of it.
func (p planned) aborted(err error) bool {
	panicked, ok := errors.AsType[*kvstore.PanicError](err)
	switch p.Abort {
	case "panic":
		return ok && panicked.Value == errAborted //nolint:errorlint // the value itself is promised
	case "exit":
		return err == errExited || ok && panicked.Value == nil //nolint:errorlint // that is promised
	default:
		return err == errAborted //nolint:errorlint // unwrapped is promised
	}
}

func (c *client) read(o op) result {
	r := result{Outcome: done}
	name := keyNames[o.Key]
	switch o.Kind {
	case opGet:
		b, ok := c.store.Get(name)
		r.Value = decode(o.Key, b, ok)
	case opHas:
		if c.store.Has(name) {
			r.Value = empty
		}
	case opAppendGet:
		dst := append(make([]byte, 0, 64), "dst"...)
		b, ok := c.store.AppendGet(dst, name)
		tail := b[min(len(b), 3):]
		switch {
		case !bytes.HasPrefix(b, dst) || !ok && len(tail) > 0:
			r.Value = garbage
		case ok:
			r.Value = decode(o.Key, tail, true)
		}
	case opDeadline:
		if deadline, ok := c.store.Deadline(name); ok {
			r.Value = empty
			if !deadline.IsZero() {
				r.Until = deadline.UnixNano()
			}
		}
	case opLen:
		r.Count = c.store.Len()
	case opKeys:
		for _, name := range c.store.Keys() {
			bit := uint32(1) << max(0, slices.Index(keyNames[:], name))
			if !slices.Contains(keyNames[:], name) || r.Keys&bit != 0 {
				return result{
					Outcome: wrong, Value: garbage, Keys: garbageKeys,
					Error: fmt.Sprintf("Keys shows %q twice, or it does not exist", name),
				}
			}
			r.Keys |= bit
		}
	case opScan:
		r.Reads = [][]pair{o.Scan.take(c.store.Scan)}
	case opSet, opUntil, opExpire, opDelete, opApply, opAsync, opSwap, opUpdate, opDo, opDoAsync, opAdd, opView,
		opMultiGet, opClose, opOpen, opPass: // no reads, or elsewhere
	}
	return r
}

// garbageKeys is not a set of keys.
const garbageKeys = 1 << 31

// ---- histories ----

// history has the operations of all sessions of one directory, one session
// after the other.
type history struct {
	ops   []porcupine.Operation
	clock int64 // later than everything in ops
	epoch int
	open  []int // indexes in ops of operations without a certain end; up to 64
}

// point adds an operation that overlaps no other one.
func (h *history) point(o op) {
	h.ops = append(h.ops, porcupine.Operation{
		Input: o, Output: result{Outcome: done}, Call: h.clock + 1, Return: h.clock + 2,
	})
	h.clock += 2
}

// opened starts the next session.
func (h *history) opened() {
	h.epoch++
	h.point(op{Kind: opOpen})
	h.resolve()
}

// resolve ends the open operations: each has happened by now, or never will.
func (h *history) resolve() {
	for _, i := range h.open {
		h.ops[i].Return = h.clock
	}
	h.open = nil
}

// add appends the operations of the journals.
func (h *history) add(journals ...*journal) {
	offset, last := h.clock+1, h.clock
	for _, j := range journals {
		for _, o := range j.ops {
			in, out := o.Input.(op), o.Output.(result)
			unanswered := o.Return < 0
			if unanswered && len(in.Writes) == 0 && in.Kind != opClose {
				continue // a read without an answer proves nothing
			}
			o.Call += offset
			last = max(last, o.Call)
			if unanswered || len(in.Writes) > 0 && (out.Outcome == unknown || out.Outcome == failed) {
				h.open = append(h.open, len(h.ops))
				in.Open = len(h.open)
				o.Input = in
			}
			if !unanswered {
				o.Return += offset
				last = max(last, o.Return)
			}
			h.ops = append(h.ops, o)
		}
	}
	h.clock = last
}

// finish returns the history. It replaces each client with lanes, so that the
// overlapping operations of a client do not overlap in the picture.
func (h *history) finish() []porcupine.Operation {
	if len(h.open) > 0 {
		h.opened() // after all reads, so that open operations may or may not have happened
	}
	slices.SortStableFunc(h.ops, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	busy := map[int]int64{}
	for i, o := range h.ops {
		lane := o.Input.(op).Client
		for until, ok := busy[lane]; ok && until >= o.Call; until, ok = busy[lane] {
			lane += maxClients
		}
		busy[lane] = o.Return
		h.ops[i].ClientId = lane
	}
	return h.ops
}
