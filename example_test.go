package kvstore_test

import (
	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kvstore"
)

// What the documents show as Go code is code of this file, so that it compiles
// and does what they say.
func TestDocumentsShowTestedCode(t *testing.T) {
	tested := readGo(t, "example_test.go")
	for _, name := range []string{"README.md", "docs/OPERATIONS.md", "docs/RECIPES.md"} {
		_, rest, _ := strings.Cut(readGo(t, name), "\n```go\n")
		for rest != "" {
			block, after, closed := strings.Cut(rest, "\n```\n")
			if !closed {
				t.Fatalf("%s: a block of code has no end", name)
			}
			_, rest, _ = strings.Cut(after, "\n```go\n")
			if strings.HasPrefix(block, "import ") {
				continue
			}
			if code := strings.ReplaceAll(block, `"data"`, "dir"); !strings.Contains(tested, "\n"+code+"\n") {
				t.Errorf("%s shows code that is not in example_test.go:\n%s", name, block)
			}
		}
	}
}

// readGo returns a file's text without what gofmt may indent it by.
func readGo(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.Join(lines, "\n")
}

// exampleDir returns a directory for an example, and what removes it.
func exampleDir() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "kvstore-")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// closeStore is for the end of examples that are not about it.
func closeStore(store *kvstore.Store) {
	if err := store.Close(); err != nil {
		log.Fatal(err)
	}
}

// A value that Set has stored survives a crash.
func Example() {
	dir, remove := exampleDir()
	defer remove()

	config := kvstore.DefaultConfig(dir) // SyncWrites is on
	store, err := kvstore.OpenWithConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	err = store.Set("greeting", []byte("hello")) // nil: it is on disk
	value, ok := store.Get("greeting")           // from memory, a copy
	err = errors.Join(err, store.Close())        // writes a snapshot
	fmt.Printf("%s, %t, %v\n", value, ok, err)   // hello, true, <nil>
	// Output: hello, true, <nil>
}

// The writes of a batch are there together or not at all: for readers, and
// after a crash.
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

// One goroutine that does not wait for each commit lets many of them share an
// fsync. They commit in the order of the calls, so when the last one is done,
// all are decided; each has its own result all the same.
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

// AppendGet reads into a buffer that is used again and again, without
// allocating once it is large enough.
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

// nextID returns a number that no other call returns.
func nextID(store *kvstore.Store) (int64, error) {
	return store.Add("ids/last", 1)
}

// Add counts. However many goroutines call it, none of them has to try again.
func ExampleStore_Add() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	for range 2 {
		id, err := nextID(store)
		fmt.Println(id, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
}

// take takes n pieces of an item from the stock. It reports whether there were
// as many.
func take(store *kvstore.Store, item string, n int) (ok bool, err error) {
	err = store.Do(context.Background(), func(tx *kvstore.Tx) error {
		value, _ := tx.Get("stock/" + item)
		left, _ := strconv.Atoi(string(value))
		if ok = left >= n; ok {
			tx.Set("stock/"+item, []byte(strconv.Itoa(left-n)))
		}
		return nil
	})
	return ok && err == nil, err
}

// Do runs a function in the writer, in commit order: for keys that many
// goroutines change.
func ExampleStore_Do() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	if err := store.Set("stock/apple", []byte("5")); err != nil {
		log.Fatal(err)
	}
	for _, n := range []int{3, 3, 2} {
		ok, err := take(store, "apple", n)
		fmt.Println(n, ok, err)
	}
	// Output:
	// 3 true <nil>
	// 3 false <nil>
	// 2 true <nil>
}

// visit counts a visit, and notes the visitor.
func visit(store *kvstore.Store, page, visitor string) error {
	return store.Do(context.Background(), func(tx *kvstore.Tx) error {
		value, _ := tx.Get(page + "/visits")
		n, _ := strconv.Atoi(string(value)) // 0 for the first one
		tx.Set(page+"/visits", []byte(strconv.Itoa(n+1)))
		tx.Set(page+"/last", []byte(visitor))
		return nil
	})
}

// A function that writes several keys, of which all or none change.
func ExampleStore_Do_several() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	if err := errors.Join(visit(store, "home", "alice"), visit(store, "home", "bob")); err != nil {
		log.Fatal(err)
	}
	for key, value := range store.Scan(kvstore.Prefix("home/")) {
		fmt.Printf("%s: %s\n", key, value)
	}
	// Output:
	// home/last: bob
	// home/visits: 2
}

// increment adds 1 to the number under key.
func increment(store *kvstore.Store, key string) error {
	for {
		old, _ := store.Get(key)          // nil if the key is absent
		n, _ := strconv.Atoi(string(old)) // 0 then
		swapped, err := store.CompareAndSwap(key, old, []byte(strconv.Itoa(n+1)))
		if err != nil || swapped {
			return err
		}
	}
}

// CompareAndSwap writes only if the value is still the expected one: a counter
// without a lock.
func ExampleStore_CompareAndSwap() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	if err := errors.Join(increment(store, "counter"), increment(store, "counter")); err != nil {
		log.Fatal(err)
	}
	value, _ := store.Get("counter")
	fmt.Println(string(value))
	// Output: 2
}

// printNewest prints the last ten keys below a prefix, the highest first.
func printNewest(store *kvstore.Store, prefix string) {
	for key, value := range store.Scan(kvstore.Range{Prefix: prefix, Reverse: true, Limit: 10}) {
		fmt.Printf("%s=%s\n", key, value)
	}
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
	printNewest(store, "user/")
	for key := range store.Scan(kvstore.Range{To: "user/c", Reverse: true, Limit: 1}) {
		fmt.Println("the last one below user/c:", key)
	}
	// Output:
	// user/carol=USER/CAROL
	// user/bob=USER/BOB
	// user/alice=USER/ALICE
	// the last one below user/c: user/bob
}

var errNotEnough = errors.New("not enough money")

// transfer moves an amount from one account to another.
func transfer(store *kvstore.Store, from, to string, amount int) error {
	return store.Update(context.Background(), func(tx *kvstore.Tx) error {
		balance := func(account string) int {
			value, _ := tx.Get(account)
			n, _ := strconv.Atoi(string(value)) // 0 for an absent account
			return n
		}
		if balance(from) < amount {
			return errNotEnough // nothing is written
		}
		tx.Set(from, []byte(strconv.Itoa(balance(from)-amount)))
		tx.Set(to, []byte(strconv.Itoa(balance(to)+amount)))
		return nil
	})
}

// Concurrent transfers between the same two accounts: no money is lost, and no
// account is overdrawn.
func ExampleStore_Update() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	if err := store.Set("alice", []byte("100")); err != nil {
		log.Fatal(err)
	}
	var transfers sync.WaitGroup
	for range 8 {
		transfers.Go(func() {
			if err := transfer(store, "alice", "bob", 15); err != nil && !errors.Is(err, errNotEnough) {
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

// A view shows the store as it was when it was opened, whatever is written
// later.
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

// backup writes the whole store to w, while reads and writes go on.
func backup(store *kvstore.Store, w io.Writer) error {
	view, err := store.View()
	if err != nil {
		return err
	}
	_, err = view.WriteTo(w)
	return errors.Join(err, view.Close())
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

// Restore makes a new store from a backup.
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

	var saved bytes.Buffer
	if err := backup(store, &saved); err != nil {
		log.Fatal(err)
	}

	copied := filepath.Join(dir, "copy")
	if err := kvstore.Restore(copied, &saved); err != nil {
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

// A store that runs for long keeps its log short by snapshots: by itself with
// Config.SnapshotBytes, or when Snapshot is called.
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

// MultiGet reads many keys at one moment: no batch is seen in part. It is
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

// With SyncWrites false, a write that returned is with the operating system: it
// survives a crash of the program at once, and a power cut after the next Sync,
// or when SyncInterval has passed.
func ExampleStore_Sync() {
	dir, remove := exampleDir()
	defer remove()
	config := kvstore.DefaultConfig(dir)
	config.SyncWrites = false
	store, err := kvstore.OpenWithConfig(config)
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

// serveBackup streams the store to an HTTP client as one snapshot file. Reads
// and writes go on meanwhile.
func serveBackup(store *kvstore.Store) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		view, err := store.View()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		defer func() { _ = view.Close() }() // it returns nil
		w.Header().Set("Content-Disposition", `attachment; filename="backup.kvs"`)
		if _, err := view.WriteTo(w); err != nil {
			panic(http.ErrAbortHandler) // the client must notice that this is not the whole file
		}
	}
}

// A handler that backs up a store in use.
func ExampleView_WriteTo() {
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

	response := httptest.NewRecorder()
	serveBackup(store)(response, httptest.NewRequest(http.MethodGet, "/backup", http.NoBody))
	fmt.Println(response.Code, response.Body.Len(), "bytes")
	fmt.Println("restored:", kvstore.Restore(filepath.Join(dir, "copy"), response.Body) == nil)
	// Output:
	// 200 109 bytes
	// restored: true
}

// page returns the next n keys with a prefix, after the last key of the page
// before; that is "" for the first page.
func page(store *kvstore.Store, prefix, last string, n int) (keys []string) {
	r := kvstore.Range{Prefix: prefix, Limit: n}
	if last != "" {
		r.From = last + "\x00" // the lowest key above last
	}
	for key := range store.Scan(r) {
		keys = append(keys, key)
	}
	return keys
}

// Pages of a scan: each begins after the last key of the one before.
func ExampleStore_Scan_pages() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)
	for i := range 5 {
		if err := store.Set(fmt.Sprintf("user/%d", i), nil); err != nil {
			log.Fatal(err)
		}
	}

	last := ""
	for keys := page(store, "user/", last, 2); len(keys) > 0; keys = page(store, "user/", last, 2) {
		fmt.Println(keys)
		last = keys[len(keys)-1]
	}
	// Output:
	// [user/0 user/1]
	// [user/2 user/3]
	// [user/4]
}

// saveUser stores a user's email address under the user's name, and the name
// under the address.
func saveUser(store *kvstore.Store, name, email string) error {
	return store.Update(context.Background(), func(tx *kvstore.Tx) error {
		if owner, taken := tx.Get("email/" + email); taken && string(owner) != name {
			return fmt.Errorf("%s belongs to %s", email, owner)
		}
		if old, ok := tx.Get("user/" + name); ok {
			tx.Delete("email/" + string(old))
		}
		tx.Set("user/"+name, []byte(email))
		tx.Set("email/"+email, []byte(name))
		return nil
	})
}

// A secondary key changes in the same transaction as the primary one, so that
// the two always agree.
func Example_secondaryKey() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	fmt.Println(saveUser(store, "alice", "alice@example.com"))
	fmt.Println(saveUser(store, "bob", "alice@example.com"))
	fmt.Println(saveUser(store, "alice", "a@example.com"))
	name, ok := store.Get("email/a@example.com")
	fmt.Println(string(name), ok, store.Has("email/alice@example.com"))
	// Output:
	// <nil>
	// alice@example.com belongs to alice
	// <nil>
	// alice true false
}

// queue is a durable queue of jobs. All its methods may be called from any
// number of goroutines.
type queue struct {
	store *kvstore.Store
	last  atomic.Uint64 // number of the last job that was pushed
}

// newQueue returns the queue of a store, which continues after the last job in
// it.
func newQueue(store *kvstore.Store) (*queue, error) {
	q := &queue{store: store}
	for key := range store.Scan(kvstore.Range{Prefix: "job/", Reverse: true, Limit: 1}) {
		n, err := strconv.ParseUint(strings.TrimPrefix(key, "job/"), 10, 64)
		if err != nil {
			return nil, err
		}
		q.last.Store(n)
	}
	return q, nil
}

// push adds a job. When it returns nil, the job is on disk.
func (q *queue) push(job string) error {
	return q.store.Set(fmt.Sprintf("job/%020d", q.last.Add(1)), []byte(job))
}

// pop removes the oldest job and returns it; ok is false if there is none. No
// other caller gets the same job.
func (q *queue) pop(ctx context.Context) (job string, ok bool, err error) {
	err = q.store.Update(ctx, func(tx *kvstore.Tx) error {
		job, ok = "", false
		for key, value := range tx.Scan(kvstore.Range{Prefix: "job/", Limit: 1}) {
			tx.Delete(key)
			job, ok = string(value), true
		}
		return nil
	})
	return job, ok, err
}

// A queue numbers its jobs, so that a scan finds the oldest one.
func Example_queue() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	q, err := newQueue(store)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(q.push("wash"), q.push("dry")); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		fmt.Println(q.pop(context.Background()))
	}
	// Output:
	// wash true <nil>
	// dry true <nil>
	//  false <nil>
}

// login stores a token that is gone after an hour.
func login(store *kvstore.Store, token, user string) error {
	return store.SetFor("token/"+token, []byte(user), time.Hour)
}

// stayLoggedIn has a token last for an hour from now. It reports false if the
// token is gone already.
func stayLoggedIn(store *kvstore.Store, token string) (ok bool, err error) {
	return store.Expire("token/"+token, store.Now().Add(time.Hour))
}

// A key with a deadline is gone from then on, also if the store was closed
// meanwhile.
func ExampleStore_SetFor() {
	dir, remove := exampleDir()
	defer remove()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	config := kvstore.DefaultConfig(dir)
	config.Now = func() time.Time { return now } // without it, the time of the machine
	for _, passed := range []time.Duration{0, 30 * time.Minute, 2 * time.Hour} {
		now = now.Add(passed)
		store, err := kvstore.OpenWithConfig(config)
		if err != nil {
			log.Fatal(err)
		}
		if passed == 0 {
			err = login(store, "7f3a", "alice")
		}
		user, ok := store.Get("token/7f3a")
		fmt.Printf("%s, %t, %v, %d keys\n", user, ok, err, store.Len())
		closeStore(store)
	}
	// Output:
	// alice, true, <nil>, 1 keys
	// alice, true, <nil>, 1 keys
	// , false, <nil>, 0 keys
}

// Expire changes the deadline of a key that is there. A zero time removes it.
func ExampleStore_Expire() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	left := func() string {
		deadline, ok := store.Deadline("token/7f3a")
		if !ok || deadline.IsZero() {
			return fmt.Sprintf("there: %t, no deadline", ok)
		}
		return fmt.Sprint(deadline.Sub(store.Now()).Round(time.Minute))
	}
	if err := store.SetFor("token/7f3a", []byte("alice"), time.Minute); err != nil {
		log.Fatal(err)
	}
	fmt.Println(left())
	ok, err := stayLoggedIn(store, "7f3a")
	fmt.Println(ok, err, left())
	ok, err = store.Expire("token/7f3a", time.Time{}) // the key stays
	fmt.Println(ok, err, left())
	ok, err = store.Expire("token/7f3a", store.Now()) // the key is deleted
	fmt.Println(ok, err, left())
	ok, err = stayLoggedIn(store, "7f3a")
	fmt.Println(ok, err)
	// Output:
	// 1m0s
	// true <nil> 1h0m0s
	// true <nil> there: true, no deadline
	// true <nil> there: false, no deadline
	// false <nil>
}

// sessionTime is how long a session lasts after it was used.
const sessionTime = 30 * time.Minute

// beginSession stores a session, and lists it under the user's name. Both keys
// are gone at the same moment.
func beginSession(store *kvstore.Store, id, user string) error {
	end := store.Now().Add(sessionTime)
	var b kvstore.Batch
	b.SetUntil("session/"+id, []byte(user), end)
	b.SetUntil("user/"+user+"/session/"+id, nil, end)
	return store.Apply(context.Background(), &b)
}

// useSession returns the user of a session that has not ended, and has it last
// for sessionTime from now.
func useSession(store *kvstore.Store, id string) (user string, ok bool, err error) {
	err = store.Do(context.Background(), func(tx *kvstore.Tx) error {
		value, found := tx.Get("session/" + id)
		user, ok = string(value), found
		end, _ := tx.Deadline("session/" + id)
		if !ok || end.Sub(tx.Now()) > sessionTime-time.Minute {
			return nil // it was used a moment ago, and a write for each request is too much
		}
		end = tx.Now().Add(sessionTime)
		tx.Expire("session/"+id, end)
		tx.Expire("user/"+user+"/session/"+id, end)
		return nil
	})
	return user, ok && err == nil, err
}

// sessionsOf returns how many sessions a user has.
func sessionsOf(store *kvstore.Store, user string) int {
	return store.Count(kvstore.Prefix("user/" + user + "/session/"))
}

// Sessions with a sliding end: each use moves the deadlines of their keys.
func Example_sessions() {
	dir, remove := exampleDir()
	defer remove()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	config := kvstore.DefaultConfig(dir)
	config.Now = func() time.Time { return now } // without it, the time of the machine
	store, err := kvstore.OpenWithConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(beginSession(store, "a", "alice"), beginSession(store, "b", "alice")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(sessionsOf(store, "alice"), "sessions")
	for range 3 { // one of them is used every 20 minutes
		closeStore(store)
		now = now.Add(20 * time.Minute)
		if store, err = kvstore.OpenWithConfig(config); err != nil {
			log.Fatal(err)
		}
		user, ok, err := useSession(store, "b")
		fmt.Println(user, ok, err, sessionsOf(store, "alice"), "sessions")
	}
	closeStore(store)
	// Output:
	// 2 sessions
	// alice true <nil> 2 sessions
	// alice true <nil> 1 sessions
	// alice true <nil> 1 sessions
}

// metrics returns figures of a store for expvar.Publish, which shows them at
// /debug/vars.
func metrics(store *kvstore.Store) expvar.Func {
	return func() any {
		s := store.Stats()
		return map[string]any{
			"keys":                s.Keys,
			"commits":             s.Commits, // a counter
			"groups":              s.Groups,  // a counter
			"fsyncs":              s.Syncs,   // a counter
			"log_bytes":           s.WALBytes,
			"views":               s.Views,
			"view_bytes":          s.ViewBytes,
			"oldest_view_seconds": s.OldestView.Seconds(),
			"recovery_seconds":    s.Recovery.Took.Seconds(),
			"recovery_dropped":    len(s.Recovery.Dropped),

			"memory_mapped": s.MemoryMapped, // outside the Go heap on Linux
			"memory_used":   s.MemoryUsed,
			"disk_bytes":    s.DiskBytes,
			"queue_bytes":   s.QueueBytes,
			"snapshots":     s.Snapshots, // a counter
			"last_snapshot": s.LastSnapshot,
			"failed":        store.Err() != nil,

			"expiring":           s.Expiring, // keys with a deadline
			"due":                s.Due,      // and those whose deadline has passed
			"expire_lag_seconds": s.ExpireLag.Seconds(),
			"expired":            s.Expired,    // a counter
			"clock_steps":        s.ClockSteps, // a counter
		}
	}
}

// The figures of Stats as metrics.
func ExampleStore_Stats() {
	dir, remove := exampleDir()
	defer remove()
	store, err := kvstore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer closeStore(store)

	m := metrics(store) // expvar.Publish("kvstore", metrics(store))
	if err := store.Set("greeting", []byte("hello")); err != nil {
		log.Fatal(err)
	}
	figures, _ := m.Value().(map[string]any)
	fmt.Println(figures["keys"], figures["commits"], figures["log_bytes"])
	// Output: 1 1 87
}

// A directory has one opener at a time. The message of the error names the
// process that has it.
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

// Damage to data that was on disk is never repaired by forgetting it: Open
// refuses, says where it is, and changes nothing.
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
