package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kvstore"
)

// The README's first example must be the tested one.
func TestReadmeShowsExampleOpen(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(readme), "\nstore, err := ")
	code, _, closed := strings.Cut(code, "\n```")
	if !found || !closed {
		t.Fatal("README.md has no code that opens a store")
	}
	code = strings.ReplaceAll("\nstore, err := "+code, "\n", "\n\t")
	if !strings.Contains(string(source), code+"\n\t// Output:") {
		t.Errorf("README.md has this code, ExampleOpen has not:%s", code)
	}
}

// exampleDir returns a directory for an example, and a function that removes
// it.
func exampleDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "kvstore-")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// closeStore ends examples that are not about Close.
func closeStore(store *kvstore.Store) {
	if err := store.Close(); err != nil {
		log.Fatal(err)
	}
}

// A value that Set has stored survives a crash, and Close.
func ExampleOpen() {
	dir, remove := exampleDir()
	defer remove()

	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	err = store.Set("greeting", []byte("hello")) // nil: it is on disk
	value, ok := store.Get("greeting")           // from memory, a copy
	err = errors.Join(err, store.Close())        // writes a snapshot
	fmt.Printf("%s, %t, %v\n", value, ok, err)   // hello, true, <nil>
	// Output: hello, true, <nil>
}

// The writes of a batch are there together or not at all, for readers and after
// a crash.
func ExampleStore_Apply() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	var b kvstore.Batch
	b.Set("account/alice", []byte("90"))
	b.Set("account/bob", []byte("110"))
	b.Delete("transfer/1")
	if err := store.Apply(context.Background(), &b); err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Len(), "writes, one commit:", store.Stats().Commits)
	// Output: 3 writes, one commit: 1
}

// A goroutine that does not wait for each commit lets many of them share an
// fsync. They commit in the order of the calls: when the last one is done, all
// are decided. Each still has a result of its own.
func ExampleStore_ApplyAsync() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	ctx := context.Background()
	var b kvstore.Batch
	var commits []*kvstore.Commit
	for i := range 1000 {
		b.Reset() // what is queued is a copy
		b.Set(fmt.Sprintf("event/%04d", i), []byte("..."))
		commits = append(commits, store.ApplyAsync(ctx, &b))
	}
	for _, commit := range commits {
		if err := commit.Wait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(store.Len(), "keys are on disk")
	// Output: 1000 keys are on disk
}

// AppendGet reads into a buffer that the caller reuses. Once the buffer is
// large enough, nothing is allocated.
func ExampleStore_AppendGet() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)
	if err := errors.Join(store.Set("a", []byte("alpha")), store.Set("b", []byte("beta"))); err != nil {
		log.Fatal(err)
	}

	var buf []byte
	for _, key := range []string{"a", "b", "c"} {
		value, ok := store.AppendGet(buf[:0], key)
		fmt.Printf("%s: %q, %t\n", key, value, ok)
		buf = value // it may have grown
	}
	// Output:
	// a: "alpha", true
	// b: "beta", true
	// c: "", false
}

// CompareAndSwap writes if no other write came in between: a counter without a
// lock.
func ExampleStore_CompareAndSwap() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	increment := func() error {
		for {
			old, _ := store.Get("counter")    // nil: it is not there yet
			n, _ := strconv.Atoi(string(old)) // 0 then
			swapped, err := store.CompareAndSwap("counter", old, strconv.AppendInt(nil, int64(n)+1, 10))
			if err != nil || swapped {
				return err
			}
		}
	}
	if err := errors.Join(increment(), increment()); err != nil {
		log.Fatal(err)
	}
	value, _ := store.Get("counter")
	fmt.Println(string(value))
	// Output: 2
}

func ExampleStore_Scan() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	for _, key := range []string{"user/carol", "user/alice", "user/bob", "visits"} {
		if err := store.Set(key, []byte(strings.ToUpper(key))); err != nil {
			log.Fatal(err)
		}
	}
	for key, value := range store.Scan(kvstore.Prefix("user/")) {
		fmt.Printf("%s=%s\n", key, value)
	}
	for key := range store.Scan(kvstore.Range{To: "user/c", Reverse: true, Limit: 1}) {
		fmt.Println("the last one below user/c:", key)
	}
	// Output:
	// user/alice=USER/ALICE
	// user/bob=USER/BOB
	// user/carol=USER/CAROL
	// the last one below user/c: user/bob
}

// Transfers between two accounts: many of them meet, none is lost, and no
// account is overdrawn.
func ExampleStore_Update() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	balance := func(tx *kvstore.Tx, account string) int {
		value, _ := tx.Get(account)
		n, _ := strconv.Atoi(string(value)) // 0 for an account that is not there
		return n
	}
	errNotEnough := errors.New("not enough")
	transfer := func(from, to string, amount int) error {
		return store.Update(context.Background(), func(tx *kvstore.Tx) error {
			left := balance(tx, from) - amount
			if left < 0 {
				return errNotEnough // nothing happens
			}
			tx.Set(from, strconv.AppendInt(nil, int64(left), 10))
			tx.Set(to, strconv.AppendInt(nil, int64(balance(tx, to)+amount), 10))
			return nil
		})
	}
	if err := store.Set("alice", []byte("100")); err != nil {
		log.Fatal(err)
	}
	var transfers sync.WaitGroup
	for range 8 {
		transfers.Go(func() {
			if err := transfer("alice", "bob", 15); err != nil && !errors.Is(err, errNotEnough) {
				log.Fatal(err)
			}
		})
	}
	transfers.Wait()
	alice, _ := store.Get("alice")
	bob, _ := store.Get("bob")
	fmt.Printf("alice has %s, bob has %s\n", alice, bob)
	// Output:
	// alice has 10, bob has 90
}

// A view shows the store as it was when the view was opened, whatever is
// written later.
func ExampleStore_View() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	err = store.Set("price", []byte("10"))
	view, viewErr := store.View()
	if err := errors.Join(err, viewErr, store.Set("price", []byte("12"))); err != nil {
		log.Fatal(err)
	}
	before, _ := view.Get("price")
	now, _ := store.Get("price")
	fmt.Printf("%s then, %s now\n", before, now)
	if err := view.Close(); err != nil { // what was kept for it goes
		log.Fatal(err)
	}
	// Output: 10 then, 12 now
}

// All visits every pair of a view, in no order. It needs no index, so it suits
// statistics, checks and exports of the whole store.
func ExampleView_All() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)
	if err := errors.Join(store.Set("a", []byte("alpha")), store.Set("b", []byte("beta"))); err != nil {
		log.Fatal(err)
	}

	view, err := store.View()
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = view.Close() }() // it returns nil
	bytes := 0
	for key, value := range view.All() {
		bytes += len(key) + len(value)
	}
	fmt.Println(view.Len(), "pairs,", bytes, "bytes")
	// Output: 2 pairs, 11 bytes
}

// Versions order the writes of different goroutines: a view shows a commit if
// its version is not less than the commit's.
func ExampleCommit_Version() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	var b kvstore.Batch
	b.Set("price", []byte("12"))
	commit := store.ApplyAsync(context.Background(), &b)
	if err := commit.Wait(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("visible:", store.Stats().Version >= commit.Version())
	// Output: visible: true
}

// A backup is a view, written to any io.Writer while the store goes on. Restore
// makes a store of it.
func ExampleRestore() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(filepath.Join(dir, "store"))
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)
	if err := store.Set("greeting", []byte("hello")); err != nil {
		log.Fatal(err)
	}

	var backup bytes.Buffer
	view, err := store.View()
	if err != nil {
		log.Fatal(err)
	}
	_, err = view.WriteTo(&backup)
	if err := errors.Join(err, view.Close()); err != nil {
		log.Fatal(err)
	}

	copied := filepath.Join(dir, "copy")
	if err := kvstore.Restore(copied, &backup); err != nil {
		log.Fatal(err)
	}
	restored, err := kvstore.Open(copied)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(restored)
	value, ok := restored.Get("greeting")
	fmt.Printf("%s, %t\n", value, ok)
	// Output: hello, true
}

// Snapshots keep the log of a long-running store short. They come by themselves
// with Config.SnapshotBytes, or when Snapshot is called.
func ExampleStore_Snapshot() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)
	for i := range 100 {
		if err := store.Set("counter", fmt.Append(nil, i)); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("something to replay:", store.Stats().WALBytes > 0)
	if err := store.Snapshot(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("something to replay:", store.Stats().WALBytes > 0)
	// Output:
	// something to replay: true
	// something to replay: false
}

// MultiGet reads many keys at one moment, so it shows no batch in part. It is
// faster than as many calls of Get.
func ExampleStore_MultiGet() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)
	if err := errors.Join(store.Set("a", []byte("alpha")), store.Set("empty", nil)); err != nil {
		log.Fatal(err)
	}
	for i, value := range store.MultiGet([]string{"a", "b", "empty"}) {
		fmt.Printf("%d: %q, present: %t\n", i, value, value != nil)
	}
	// Output:
	// 0: "alpha", present: true
	// 1: "", present: false
	// 2: "", present: true
}

// With SyncWrites false, a write that has returned survives a crash of the
// program. It survives a power cut after the next Sync or after SyncInterval.
func ExampleStore_Sync() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: dir, SyncWrites: false})
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	for i := range 1000 {
		if err := store.Set(fmt.Sprint(i), []byte("imported")); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("on disk:", store.Sync() == nil)
	// Output: on disk: true
}

// A directory has one opener at a time. The error names the process that has
// it.
func ExampleOpen_locked() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	_, err = kvstore.Open(dir)
	fmt.Println(errors.Is(err, kvstore.ErrLocked))
	// Output: true
}

// Damage to data that was on disk is never repaired by dropping it. Open
// refuses the directory, names the place, and changes nothing.
func ExampleCorruptError() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(store.Set("key", []byte("value")), store.Close()); err != nil {
		log.Fatal(err)
	}
	damageSnapshot(dir)

	_, err = kvstore.Open(dir)
	if damage, ok := errors.AsType[*kvstore.CorruptError](err); ok {
		fmt.Printf("%s, offset %d: %s\n", damage.File, damage.Offset, damage.Reason)
	}
	fmt.Println(errors.Is(err, kvstore.ErrCorrupt))
	// Output:
	// snapshot-00000000000000000002.kvs, offset 16: block checksum mismatch
	// true
}

// damageSnapshot changes one bit of the first value in the only snapshot.
func damageSnapshot(dir string) {
	names, err := filepath.Glob(filepath.Join(dir, "snapshot-*.kvs"))
	if err != nil || len(names) != 1 {
		log.Fatal(names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		log.Fatal(err)
	}
	data[strings.Index(string(data), "value")] ^= 1
	if err := os.WriteFile(names[0], data, 0o600); err != nil {
		log.Fatal(err)
	}
}
