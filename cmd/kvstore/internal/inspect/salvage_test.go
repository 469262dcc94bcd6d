package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kvstore"
	"kvstore/internal/format"
)

// proven is what can be proven of a broken directory. It compares the directory
// with the original.
type proven struct {
	whole  *imageBuilder
	broken *image
}

// has reports whether a part of a file still exists. A whole file may have any
// name.
func (p proven) has(file string, from, to int) bool {
	b, want := p.broken.files[file], p.whole.files[file]
	if len(b) >= to && bytes.Equal(b[from:to], want[from:to]) {
		return true
	}
	for _, b := range p.broken.files {
		if bytes.Equal(b, want) {
			return true
		}
	}
	return false
}

// state returns the state of all proven groups and pairs: the newest whole
// snapshot, then what follows.
func (p proven) state() map[string]string {
	state, last, complete := map[string]string{}, uint64(0), true
	next := 0
	advance := func(upTo uint64) {
		for ; next < len(p.whole.groups) && p.whole.groups[next].number <= upTo; next++ {
			g := &p.whole.groups[next]
			if _, ok := p.whole.files[g.file]; !ok || g.number <= last {
				continue
			}
			if p.has(g.file, g.offset, g.end) {
				complete = complete && g.number == last+1
				last = g.number
				g.apply(state)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.whole.files)) {
		whole := p.whole.files[name]
		r, err := format.ReadSnapshot(bytes.NewReader(whole), int64(len(whole)), name)
		if err != nil {
			continue // a segment
		}
		if p.has(name, 0, len(whole)) {
			state, last, complete = map[string]string{}, r.Info.LastGroup, true
			pairs(r, state)
			continue
		}
		advance(r.Info.LastGroup)
		if complete && last == r.Info.LastGroup {
			continue
		}
		if n := p.pairs(name, r, state); n == len(r.Info.Blocks) && p.hasDeadlines(name, r) {
			clear(state)
			p.pairs(name, r, state)
			complete = true
		} else {
			complete = false
		}
		if len(p.broken.files[name]) > 0 {
			last = r.Info.LastGroup
		}
	}
	advance(^uint64(0))
	return state
}

// pairs adds the pairs of proven blocks to into and returns the number of these
// blocks. A block is proven if its bytes, checksum and place are unchanged, and
// the trailer of its snapshot can be found.
func (p proven) pairs(name string, r *format.SnapshotReader, into map[string]string) (proven int) {
	b := p.broken.files[name]
	if broken, err := format.ReadSnapshot(bytes.NewReader(b), int64(len(b)), name); err == nil {
		if broken.Info.ID != ours && len(p.broken.files) > 1 {
			return 0
		}
		for i, block := range r.Info.Blocks {
			known := i < len(broken.Info.Blocks) && block == broken.Info.Blocks[i]
			if known && p.has(name, int(block.Offset), int(r.BlockEnd(i))) && broken.BlockEnd(i) == r.BlockEnd(i) {
				p.block(name, r, i, into)
				proven++
			}
		}
		return proven
	}
	size, entries := len(p.whole.files[name]), int(r.TrailerAt)+40
	found := len(b) == size && p.has(name, size-12, size-4) || p.has(name, 12, int(r.PairsEnd))
	if !found || !p.has(name, int(r.TrailerAt)+36, entries) {
		return 0
	}
	for i := range r.Info.Blocks {
		next := min(entries+16*(i+2), size-16) // the end of the next entry, which says where this block ends
		if p.has(name, int(r.Info.Blocks[i].Offset), int(r.BlockEnd(i))) && p.has(name, entries+16*i, next) {
			p.block(name, r, i, into)
			proven++
		}
	}
	return proven
}

// block adds the pairs of a block to into: with their deadlines, unless these
// are damaged.
func (p proven) block(name string, r *format.SnapshotReader, i int, into map[string]string) {
	isDated := p.hasDeadlines(name, r)
	_, _ = r.ReadBlock(i, nil, func(p format.Pair) {
		old, isThere := into[string(p.Key)]
		value, _ := undated(old)
		switch {
		case isDated:
			into[string(p.Key)] = dated(string(p.Value), p.Deadline)
		case !isThere || value != string(p.Value):
			into[string(p.Key)] = string(p.Value)
		}
	})
}

// hasDeadlines reports whether a snapshot's deadlines are unchanged.
func (p proven) hasDeadlines(name string, r *format.SnapshotReader) bool {
	return p.has(name, int(r.PairsEnd), int(r.TrailerAt))
}

// sure reports whether nothing but state can be proven. A snapshot of another
// length, or with a damaged trailer, may prove more.
func (p proven) sure() bool {
	for name, want := range p.whole.files {
		if r, err := format.ReadSnapshot(bytes.NewReader(want), int64(len(want)), name); err == nil {
			b := p.broken.files[name]
			if b != nil && (len(b) != len(want) || !bytes.Equal(b[r.TrailerAt:], want[r.TrailerAt:])) {
				return false
			}
		}
	}
	return true
}

// checkAccount requires that the account names exactly the missing groups, as
// far as they are provable.
func (p proven) checkAccount(t *testing.T, account *Account) {
	t.Helper()
	covered := uint64(0)
	for name, b := range p.whole.files {
		if r, err := format.ReadSnapshot(bytes.NewReader(b), int64(len(b)), name); err == nil {
			if !bytes.Equal(b, p.broken.files[name]) {
				return // the account has keys of snapshots, not the groups that they cover
			}
			covered = max(covered, r.Info.LastGroup)
		}
	}
	for _, g := range p.whole.groups {
		if p.whole.files[g.file] == nil || g.number <= covered {
			continue
		}
		named := slices.ContainsFunc(account.Damage, func(d Damage) bool {
			return d.Loss == Certain && d.FirstGroup <= g.number && g.number <= d.LastGroup
		})
		there := p.has(g.file, g.offset, g.end)
		if there && named || !there && !named && g.number < account.Last {
			t.Errorf("group %d is there: %v, named as missing: %v, in %+v", g.number, there, named, account)
		}
	}
}

// holds reports whether got has all keys of want, and no value or deadline that
// its key never had.
func (p proven) holds(got, want map[string]string) bool {
	had := map[string]bool{}
	for _, g := range p.whole.groups {
		for _, o := range g.ops {
			had[o.key+"="+o.value] = true
			had[fmt.Sprint(o.key, "@", o.deadline)] = true
		}
	}
	for key, s := range got {
		value, deadline := undated(s)
		if !had[key+"="+value] || deadline != 0 && !had[fmt.Sprint(key, "@", deadline)] {
			return false
		}
	}
	for key := range want {
		if _, ok := got[key]; !ok {
			return false
		}
	}
	return true
}

func pairs(r *format.SnapshotReader, into map[string]string) {
	for i := range r.Info.Blocks {
		_, _ = r.ReadBlock(i, nil, func(p format.Pair) { into[string(p.Key)] = dated(string(p.Value), p.Deadline) })
	}
}

// The new store has everything that is proven, and nothing else. The account
// reports a loss if there is one.
func TestSalvage(t *testing.T) {
	broken(t, func(t *testing.T, whole *imageBuilder, i *image) {
		source, target := t.TempDir(), filepath.Join(t.TempDir(), "new")
		i.write(t, source)
		account, err := Salvage(context.Background(), source, target, quietly)
		wantUntouched(t, source, i)
		if errors.Is(err, kvstore.ErrVersion) || errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(target); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("something was made: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		p := proven{whole, i}
		got, want := contents(t, target), p.state()
		if !maps.Equal(got, want) && (p.sure() || !p.holds(got, want)) {
			t.Errorf("salvaged %v, want %v, of %v\n%+v", got, want, whole.state, account)
		}
		p.checkAccount(t, account)
		if account.Keys != len(got) {
			t.Errorf("%d keys, the account says %d", len(got), account.Keys)
		}
		silent := len(account.Damage) == 0 && account.Dropped == nil
		if !maps.Equal(got, whole.state) && silent && !undetectable(whole, i) {
			t.Errorf("%v of %v, and no damage in the account", got, whole.state)
		}
	})
}

// undetectable reports whether the loss cannot be noticed: the newest files
// were removed as a whole, or the last one ends with a valid group.
func undetectable(whole *imageBuilder, i *image) bool {
	for _, prefix := range []string{"wal-", "snapshot-"} {
		if newest := whole.newest(prefix); newest != "" && i.files[newest] == nil {
			return true
		}
	}
	last := whole.newest("wal-")
	left := bytes.TrimRight(i.files[last], "\x00")
	ends := []int{format.SegmentEntryBytes}
	for _, g := range whole.groups {
		if g.file == last {
			ends = append(ends, g.end)
		}
	}
	return slices.ContainsFunc(ends, func(end int) bool {
		return last != "" && bytes.Equal(left, bytes.TrimRight(whole.files[last][:end], "\x00"))
	})
}

// With untilLoss, the new store has a state that the old one once had.
func TestSalvageUntilLoss(t *testing.T) {
	broken(t, func(t *testing.T, whole *imageBuilder, i *image) {
		source, target := t.TempDir(), t.TempDir()
		i.write(t, source)
		account, err := Salvage(context.Background(), source, target, untilLoss)
		if err != nil {
			if !errors.Is(err, kvstore.ErrVersion) && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			return
		}
		got, state := contents(t, target), map[string]string{}
		once := len(got) == 0
		for _, g := range whole.groups {
			g.apply(state)
			// If the trailer of a snapshot is damaged, its last group is
			// unknown.
			once = once || maps.Equal(got, state) && (g.number == account.Last || account.Last == 0)
		}
		if !once {
			t.Errorf("%v, which the store was not after group %d\n%+v", got, account.Last, account)
		}
	})
}

// contents returns what is in a store, which must be sound.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	if r, err := Verify(dir, noProgress); err != nil || r.Verdict != Sound {
		t.Fatalf("%+v, %v", r, err)
	}
	state, _, err := openReadOnly(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// The verdict says that nothing is lost if, and only if, Open accepts the
// source. Then the new store has what Open reads.
func TestSalvageAgreesWithOpen(t *testing.T) {
	brokenAtOnce(t, func(t *testing.T, _ *imageBuilder, i *image) {
		source := t.TempDir()
		i.write(t, source)
		wantSalvageOfOpen(t, source)
	})
}

// wantSalvageOfOpen requires that a salvage agrees with Open.
func wantSalvageOfOpen(t *testing.T, source string) {
	t.Helper()
	state, dropped, openErr := openReadOnly(t, source)
	target := filepath.Join(t.TempDir(), "new")
	account, err := Salvage(context.Background(), source, target, quietly)
	switch {
	case errors.Is(err, kvstore.ErrVersion) && openErr != nil:
		return
	case errors.Is(err, fs.ErrNotExist):
		if names, err := storeNames(source); err != nil || len(names) > 0 && openErr == nil {
			t.Errorf("nothing was salvaged of %v, %v", names, err)
		}
		return
	case err != nil:
		t.Fatalf("Open: %v, Salvage: %v", openErr, err)
	case openErr != nil:
		contents(t, target)
		wantLoss(t, account, openErr)
		return
	}
	if account.Loss != None || len(account.Damage) > 0 {
		t.Errorf("Open accepts it, Salvage: %+v", account)
	}
	if got := contents(t, target); !maps.Equal(got, state) {
		t.Errorf("salvaged %v, and Open reads %v", got, state)
	}
	wantDropped(t, account.Dropped, dropped)
}

// wantLoss requires that an account does not say that nothing is lost, and has
// the damage for which Open refuses the source.
func wantLoss(t *testing.T, account *Account, openErr error) {
	t.Helper()
	if account.Loss == None || len(account.Damage) == 0 || account.Dropped != nil {
		t.Errorf("Open: %v, Salvage: %+v", openErr, account)
	}
	if worst := lossOf(account.Damage); account.Loss != worst {
		t.Errorf("the verdict is %s, and the worst damage %s: %+v", account.Loss, worst, account.Damage)
	}
	corrupt, ok := errors.AsType[*kvstore.CorruptError](openErr)
	if ok && !slices.ContainsFunc(account.Damage, func(d Damage) bool { return d.File == corrupt.File }) {
		t.Errorf("Open: %v, damage: %+v", openErr, account.Damage)
	}
}

// Open ends at the first defect. A salvage names all damage, also at the end of
// the log, where nothing follows that shows what it has cost.
func TestSalvageNamesAllDamage(t *testing.T) {
	for way, apply := range map[string]func(i *image, name string){
		"zeroed": func(i *image, name string) { clear(i.files[name]) },
		"directories": func(i *image, name string) {
			delete(i.files, name)
			i.dirs = append(i.dirs, name)
		},
	} {
		t.Run(way, func(t *testing.T) {
			i := images(rand.New(rand.NewPCG(1, 1)))["log"].clone()
			names := []string{format.SegmentName(2), format.SegmentName(3)}
			for _, name := range names {
				apply(i, name)
			}
			source := t.TempDir()
			i.write(t, source)
			account, err := Salvage(t.Context(), source, filepath.Join(t.TempDir(), "new"), quietly)
			if err != nil || account.Loss != Possible {
				t.Fatalf("%+v, %v", account, err)
			}
			for _, name := range names {
				if !slices.ContainsFunc(account.Damage, func(d Damage) bool { return d.File == name }) {
					t.Errorf("%s is not in %+v", name, account.Damage)
				}
			}
		})
	}
}

// What Open does not read plays no role, even if most files are of another
// store, or a later version wrote one.
func TestSalvageTakesWhatOpenTakes(t *testing.T) {
	foreign := images(rand.New(rand.NewPCG(1, 1)))["log"]
	i := images(rand.New(rand.NewPCG(1, 2)))["closed"].clone()
	i.files[format.SnapshotName(9)] = snapshotBytes(9, 6, map[string]string{"a": "1"})
	delete(i.files, format.SnapshotName(2))
	for name, data := range foreign.files {
		h, _ := format.DecodeHeader(data)
		h.ID = others
		i.files[name] = append(format.AppendHeader(nil, 1, h), data[format.SegmentEntryBytes:]...)
	}
	i.files[format.SnapshotName(1)] = resealed(i.files[format.SnapshotName(9)], func(b []byte) { b[len(b)-13] = 3 })
	source := t.TempDir()
	i.write(t, source)
	wantSalvageOfOpen(t, source)
}

// The target must not have a store. After an interruption it has none again,
// and what is no file of a store stays.
func TestSalvageTarget(t *testing.T) {
	source := t.TempDir()
	images(rand.New(rand.NewPCG(1, 1)))["log"].write(t, source)
	before := bytesOf(t, source)
	if _, err := Salvage(context.Background(), source, source, quietly); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into the source: %v", err)
	}
	if !maps.Equal(bytesOf(t, source), before) {
		t.Error("a salvage into its source has changed it")
	}
	target := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(target, "lost+found"), 0),
		os.WriteFile(filepath.Join(target, "notes"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	behindFirstSegment := func(int64, int64) { cancel() }
	o := Options{Progress: behindFirstSegment}
	if _, err := Salvage(ctx, source, target, o); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if entries, err := os.ReadDir(target); err != nil || len(entries) != 2 {
		t.Errorf("%v is left, %v", entries, err)
	}
	nowhere := filepath.Join(target, "notes", "new")
	if _, err := Salvage(ctx, source, nowhere, quietly); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted before it looks at the target: %v", err)
	}
	if _, err := Salvage(t.Context(), source, target, quietly); err != nil {
		t.Errorf("beside lost+found: %v", err)
	}
	if entries, err := os.ReadDir(target); err != nil || len(entries) != 4 { // and LOCK, and a snapshot
		t.Errorf("%v is left, %v", entries, err)
	}
}

// bytesOf returns the content of the files in a directory.
func bytesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(content)
	}
	return files
}

// Nothing in the target is removed that belongs to a store of another process.
func TestSalvageIntoLockedTarget(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	images(rand.New(rand.NewPCG(1, 1)))["log"].write(t, source)
	s, err := kvstore.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	before, err := os.ReadDir(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage(t.Context(), source, target, quietly); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a store that is open: %v", err)
	}
	n := &targetDir{path: target, isNew: true} // it was not there when the salvage looked
	if _, err := n.open(t.Context(), 0); !errors.Is(err, kvstore.ErrLocked) {
		t.Errorf("into a store that is open: %v", err)
	}
	if err := n.clear(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadDir(target); err != nil || len(after) != len(before) {
		t.Errorf("%v is left of %v, %v", after, before, err)
	}
}

// A segment that is there under two names is taken once.
func TestSalvageTakesEachGroupOnce(t *testing.T) {
	whole := images(rand.New(rand.NewPCG(1, 1)))["log"]
	i := whole.clone()
	i.files[format.SegmentName(1000)] = i.files[i.newest("wal-")]
	source, target := t.TempDir(), filepath.Join(t.TempDir(), "new")
	i.write(t, source)
	account, err := Salvage(context.Background(), source, target, quietly)
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(len(whole.groups)); account.Groups != want || account.Loss == Certain {
		t.Errorf("%d groups, want %d: %+v", account.Groups, want, account)
	}
	if got := contents(t, target); !maps.Equal(got, whole.state) {
		t.Errorf("salvaged %v, want %v", got, whole.state)
	}
}

// A store that another process has made while a salvage waited for its lock
// stays as it is.
func TestSalvageIntoANewerStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new")
	n, err := newTarget(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := kvstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.Set("a", nil), other.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.open(t.Context(), 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("into a store: %v", err)
	}
	if err := n.clear(); err != nil {
		t.Error(err)
	}
	if got := contents(t, path); len(got) != 1 {
		t.Errorf("the store has %v", got)
	}
}

// Values that are too large to be copied into a batch arrive in their order
// among the others, from a snapshot and from the log.
func TestSalvageOfLargeValues(t *testing.T) {
	source, target := t.TempDir(), filepath.Join(t.TempDir(), "new")
	store, err := kvstore.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }() // Salvage reads beside it
	large := bytes.Repeat([]byte("x"), largeBytes+1)
	var b kvstore.Batch
	for _, key := range []string{"first", "second", "large at last", "small at last"} {
		b.Set(key, []byte("1"))
	}
	b.Set("large at last", large)
	b.Set("small at last", large)
	b.Set("small at last", []byte("2"))
	err = errors.Join(store.Set("from a snapshot", large), store.Snapshot(t.Context()), store.Apply(t.Context(), &b))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Salvage(t.Context(), source, target, quietly); err != nil {
		t.Fatal(err)
	}
	got, want := contents(t, target), map[string]string{
		"from a snapshot": string(large), "large at last": string(large),
		"first": "1", "second": "1", "small at last": "2",
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %d bytes, want %d", key, len(got[key]), len(value))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
}

// What is salvaged does not depend on the time: a key whose deadline has passed
// may have got another one before that.
func TestSalvageOfPastDeadlines(t *testing.T) {
	const past, future = 1, farAway
	set := func(dst []byte, version int64, key string, deadline int64) []byte {
		o := op{key: key, value: key, deadline: deadline}
		return o.append(dst, version)
	}
	touch := func(dst []byte, version int64, key string, deadline int64) []byte {
		o := op{key: key, touched: true, deadline: deadline}
		return o.append(dst, version)
	}
	s := &format.Segment{ID: ours, Number: 2}
	s.Data = format.AppendHeader(nil, 1, format.Header{Version: format.Version, ID: ours, Number: 2})
	var entries []byte
	for i, key := range []string{"touched in time", "kept in time", "gone"} {
		entries = set(entries, int64(i+2), key, past)
	}
	entries = set(entries, 5, "to be gone", future)
	entries = touch(entries, 6, "touched in time", future)
	entries = touch(entries, 7, "kept in time", 0)
	entries = touch(entries, 8, "to be gone", past)
	entries = touch(entries, 9, "never there", future)
	entries = touch(entries, 10, "from a snapshot", future)
	large := bytes.Repeat([]byte("x"), largeBytes+1)
	entries = format.AppendEntry(entries, format.OpSet, 11, "large", large)
	until := format.ExpireValue(future)
	entries = format.AppendEntry(entries, format.OpExpire, 11, "large", until[:])
	at := len(s.Data)
	s.Data = format.AppendCommit(append(s.Data, entries...), at, 11, 2, 1, s.Seed(at))
	i := &image{files: map[string][]byte{
		format.SegmentName(2):  s.Data,
		format.SnapshotName(2): snapshotBytes(2, 1, map[string]string{"from a snapshot": dated("1", past)}),
	}}
	source, target := t.TempDir(), filepath.Join(t.TempDir(), "new")
	i.write(t, source)
	account, err := Salvage(t.Context(), source, target, quietly)
	if err != nil || account.Loss != None {
		t.Fatalf("%+v, %v", account, err)
	}
	want := map[string]string{
		"touched in time": dated("touched in time", future), "kept in time": "kept in time",
		"from a snapshot": dated("1", future), "large": dated(string(large), future),
	}
	if got := contents(t, target); !maps.Equal(got, want) {
		t.Errorf("%.2000v", got)
	}
	if account.Keys != len(want)+2 { // with those that are due
		t.Errorf("%d keys", account.Keys)
	}
}
