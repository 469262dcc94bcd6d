package table

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"
)

// A commit that deletes two keys has locked the shard of the first key and
// waits for the shard of the second. A reader of the first key goes on when the
// commit becomes visible. By then Version and Len, which take no lock, must
// include the commit. The test reads them without atomics, so that the race
// detector checks the order instead of chance.
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
	for last.TryRLock() { // until the commit waits for the lock
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

// plain reads an atomic that must not change any more.
func plain(n *atomic.Int64) int64 { return *(*int64)(unsafe.Pointer(n)) }

// keyIn returns a key of this shard.
func keyIn(tab *Table, shard int) string {
	for n := 0; ; n++ {
		if key := fmt.Sprint(n); tab.shardOf(tab.hash(key)) == &tab.shards[shard] {
			return key
		}
	}
}
