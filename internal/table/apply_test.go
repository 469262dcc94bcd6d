package table

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// A commit that deletes two keys has locked the shard of the first one, and waits for that of the second. Who reads the first one then gets
// its turn when the commit is seen, and what takes no lock must tell of the commit by that time. It is read as if it were no atomic, so
// that the race detector judges the order, and not chance.
func TestCommitCountsBeforeItIsSeen(t *testing.T) {
	tab := New(0)
	defer tab.Release()
	first, second := keyIn(tab, 0), keyIn(tab, shardCount-1)
	ops := []Op{{Key: []byte(first)}, {Key: []byte(second)}}
	tab.Apply([]Commit{{Version: 6, Ops: ops}})
	for i := range ops {
		ops[i].Delete = true
	}
	last := &tab.shards[shardCount-1].mu
	last.RLock()
	var wg sync.WaitGroup
	wg.Go(func() { tab.Apply([]Commit{{Version: 7, Ops: ops}}) })
	for last.TryRLock() { // as long as nobody waits to write
		last.RUnlock()
		runtime.Gosched()
	}
	if tab.shards[0].mu.TryRLock() {
		t.Error("a commit waits for one shard, and another one of it can be read")
		tab.shards[0].mu.RUnlock()
	}
	wg.Go(func() {
		if _, ok := tab.Get(nil, first); ok {
			t.Error("a reader came in before the commit")
		}
		if version, length := plain(&tab.version), plain(&tab.length); version != 7 || length != 0 {
			t.Errorf("a reader has seen commit 7, which leaves no keys, but Version is %d and Len %d", version, length)
		}
	})
	last.RUnlock()
	wg.Wait()
}

// plain reads what must not change any more.
func plain(n *atomic.Int64) int64 { return *(*int64)(unsafe.Pointer(n)) }

// keyIn returns a key of that shard.
func keyIn(tab *Table, shard int) string {
	for n := 0; ; n++ {
		if key := fmt.Sprint(n); tab.shardOf(tab.hash(key)) == &tab.shards[shard] {
			return key
		}
	}
}
