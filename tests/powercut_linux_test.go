package tests

// This file cuts the power of a real kernel. The store lies on ext4 in a file
// behind a loop device. An ioctl makes the file system forget, from one moment
// to the next, all that was not synced. The next mount replays its journal. As
// in crash_test.go, a child works on the store and prints the acknowledged
// commits. Those that the parent has read before the ioctl must be there
// afterwards:
//
//  1. Every write acknowledged with SyncWrites, and every write before a
//     successful Sync (P1).
//  2. For each goroutine, the state after some number of its commits and
//     nothing else (P2).
//  3. What an Open has served, even if only the page cache had it when that
//     Open began (P3).
//  4. A cut during Open or Close changes nothing but the writes under way (P6,
//     P10).
//
// Commits between the last reading and the ioctl may be there or not: an
// fdatasync that races the ioctl may return nil.
//
// Such cuts do not catch a missing fsync of a directory: ext4's journal takes
// names along with the next fsync of any file.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"kvstore"
	"kvstore/internal/testseed"
)

const (
	powerCutsEnv    = "KVSTORE_POWER_CUTS"
	powerControlEnv = "KVSTORE_POWER_CUT_CONTROL" // 1 makes the children lie, so that the test must fail

	powerDefaultCuts = 3
	powerDiskBytes   = 512 << 20 // sparse

	// powerCutsPerStore bounds the log of one directory, and makes some cuts
	// meet an Open that creates the directory.
	powerCutsPerStore = 16

	// powerSyncEvery is the number of a goroutine's commits that one Sync
	// covers.
	powerSyncEvery = 16
)

// powerMountOptions are ext4's ways of ordering data and journal.
var powerMountOptions = []string{"", "nodelalloc", "data=writeback", "data=journal"}

// powerTest is a disk, and the expected content of the store on it.
type powerTest struct {
	*crashTest
	disk    *mount
	control bool // children report writes that nothing has synced
	stores  int
	cuts    int
	kinds   map[string]int
}

func newPowerTest(t *testing.T) *powerTest {
	t.Helper()
	p := &powerTest{
		crashTest: &crashTest{random: testseed.Rand(t)},
		disk:      newDisk(t, filepath.Join(t.TempDir(), "disk"), powerDiskBytes, ""),
		kinds:     map[string]int{},
	}
	p.nextStore(t)
	return p
}

// nextStore continues with a new directory.
func (p *powerTest) nextStore(t *testing.T) {
	t.Helper()
	if p.dir != "" {
		if err := os.RemoveAll(p.dir); err != nil {
			t.Fatal(err)
		}
	}
	p.stores++
	p.dir = filepath.Join(p.disk.dir, fmt.Sprint("store", p.stores))
	p.acked, p.unread = [crashWriters]int{}, 0
}

// job returns the task of reporting durable writes, or of lying about it.
func (p *powerTest) job() powerJob {
	if p.control {
		return powerJob{Dir: p.dir, SyncInterval: time.Hour}
	}
	return powerJob{Dir: p.dir, SyncWrites: true}
}

// dawdle passes a random time without a clock.
func (p *powerTest) dawdle(t *testing.T) {
	t.Helper()
	for range p.upTo(13) {
		if _, err := os.ReadDir(p.disk.dir); err != nil {
			t.Fatal(err)
		}
	}
}

// cut cuts the power under a child and verifies the store when it is back.
func (p *powerTest) cut(t *testing.T, c *powerChild, kind string, linger bool) error {
	t.Helper()
	before := c.now()
	p.disk.cutPower(t)
	if linger { // the process may live on after its disk has failed
		c.until(t, "it saw that the disk had failed", func(s powerSeen) bool { return s.failed != "" })
	}
	_ = c.end() // "signal: killed"
	after := c.now()
	p.cuts++
	switch {
	case before.failed != "":
		t.Fatalf("failed before the power was cut: %s", before.failed)
	case after.wrong != "":
		t.Fatal(after.wrong)
	case c.stderr.Len() > 0:
		t.Fatalf("the child complained: %s", &c.stderr)
	}
	p.acked, p.unread = before.acked, 0
	if c.job.Write && before.last != "closed" {
		for writer, n := range after.acked {
			p.unread = max(p.unread, n-before.acked[writer])
		}
		p.unread += crashUnread * max(1, c.job.SyncEvery)
	}
	p.kinds[kind+", at "+before.last]++
	p.disk.unmount(t)
	options := powerMountOptions[p.random.IntN(len(powerMountOptions))]
	p.disk.again(t, options)
	t.Logf("cut %d: %s at %q after %d acknowledgements, disk failure seen: %t, next mount %q",
		p.cuts, kind, before.last, before.acks,
		after.failed != "", options)
	return p.verify(t)
}

// powerLoss reports that an acknowledged write is lost.
type powerLoss struct {
	writer, acked, got int
}

func (e powerLoss) Error() string {
	return fmt.Sprintf("goroutine %d is at commit %d, acknowledged were %d", e.writer, e.got, e.acked)
}

// verify opens the store read-only, so that nothing changes, and compares. From
// now on the store must hold exactly what it holds now.
func (p *powerTest) verify(t *testing.T) error {
	t.Helper()
	store, err := kvstore.OpenWithConfig(kvstore.Config{DataDir: p.dir, ReadOnly: true})
	var sequences [crashWriters]int
	if err == nil {
		sequences, err = crashSequences(store)
		err = errors.Join(err, store.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // without the directory all is empty
		return err
	}
	for writer, n := range sequences {
		if n < p.acked[writer] {
			return powerLoss{writer, p.acked[writer], n}
		}
		if n > p.acked[writer]+p.unread {
			return fmt.Errorf("goroutine %d is at commit %d, acknowledged were %d, and up to %d more are possible",
				writer, n, p.acked[writer], p.unread)
		}
	}
	p.acked, p.unread = sequences, 0
	return nil
}

// cutUnderLoad cuts the power after a random number of reports.
func (p *powerTest) cutUnderLoad(t *testing.T, kind string, job powerJob) error {
	t.Helper()
	job.Write = true
	target := p.upTo(11)
	c := p.startChild(t, job)
	c.until(t, "it had written enough", func(s powerSeen) bool { return s.acks >= target })
	return p.cut(t, c, kind, p.random.IntN(4) == 0)
}

func (p *powerTest) cutSyncWrites(t *testing.T) error {
	t.Helper()
	return p.cutUnderLoad(t, "SyncWrites", p.job())
}

// cutSync cuts the power of a store with SyncWrites false that relies on Sync.
// Its background fsync comes often or seldom.
func (p *powerTest) cutSync(t *testing.T) error {
	t.Helper()
	intervals := []time.Duration{100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second}
	job := powerJob{Dir: p.dir, SyncInterval: intervals[p.random.IntN(len(intervals))], SyncEvery: powerSyncEvery}
	return p.cutUnderLoad(t, "Sync", job)
}

func (p *powerTest) cutInOpen(t *testing.T) error {
	t.Helper()
	c := p.startChild(t, p.job())
	c.until(t, "Open", func(s powerSeen) bool { return s.last != "" })
	p.dawdle(t)
	return p.cut(t, c, "in Open", false)
}

func (p *powerTest) cutInClose(t *testing.T) error {
	t.Helper()
	job := p.job()
	job.Write, job.CloseAfter = true, p.upTo(9)
	c := p.startChild(t, job)
	c.until(t, "Close", func(s powerSeen) bool { return strings.HasPrefix(s.last, "clos") })
	p.dawdle(t)
	return p.cut(t, c, "in Close", false)
}

// cutAfterOpen kills a child whose writes only the page cache has, lets the
// next child open the store, and cuts the power then. What that Open has served
// must be there.
func (p *powerTest) cutAfterOpen(t *testing.T) error {
	t.Helper()
	job := powerJob{Dir: p.dir, SyncInterval: time.Hour, Write: true}
	target := p.upTo(11)
	c := p.startChild(t, job)
	c.until(t, "it had written enough", func(s powerSeen) bool { return s.acks >= target })
	_ = c.end() // "signal: killed"
	seen := c.now()
	if seen.wrong != "" || seen.failed != "" || c.stderr.Len() > 0 {
		t.Fatalf("%s%s%s", seen.wrong, seen.failed, &c.stderr)
	}
	p.acked, p.unread = seen.acked, crashUnread // the kernel survives a kill
	c = p.startChild(t, p.job())
	c.until(t, "it had opened the store", func(s powerSeen) bool { return s.last == "open" })
	return p.cut(t, c, "after Open", false)
}

func powerCuts(t *testing.T) int {
	t.Helper()
	text := os.Getenv(powerCutsEnv)
	if text == "" {
		return powerDefaultCuts
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", powerCutsEnv, err)
	}
	return n
}

// P1, P2, P3, P6, P10 on a real kernel. One directory goes through many cuts:
// each child works on what the cut before it left.
func TestPowerCutLosesNoAcknowledgedWrite(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	p := newPowerTest(t)
	p.control = os.Getenv(powerControlEnv) == "1"
	began := time.Now()
	defer func() {
		t.Logf("%d power cuts, %.1f a second, %d directories: %v",
			p.cuts, float64(p.cuts)/time.Since(began).Seconds(), p.stores, p.kinds)
	}()
	ways := []func(*testing.T) error{
		p.cutSyncWrites, p.cutInOpen, p.cutInClose, p.cutSync,
		p.cutInOpen, p.cutSyncWrites, p.cutAfterOpen, p.cutSync, p.cutInClose,
	}
	for i := range powerCuts(t) {
		if i > 0 && i%powerCutsPerStore == 0 {
			p.openAndClose(t)
			p.nextStore(t)
		}
		if err := ways[i%len(ways)](t); err != nil {
			t.Fatalf("after power cut %d: %v", p.cuts, err)
		}
		if p.random.IntN(8) == 0 {
			p.openAndClose(t)
		}
	}
	p.openAndClose(t)
}

// The control: the test above must notice writes that are acknowledged and
// never synced.
func TestPowerCutControlLosesData(t *testing.T) {
	if !aloneWithMounts(t) {
		return
	}
	p := newPowerTest(t)
	p.control = true
	const cuts = 10
	for range cuts {
		err := p.cutSyncWrites(t)
		if loss, ok := errors.AsType[powerLoss](err); ok {
			t.Logf("%d power cuts: %v", p.cuts, loss)
			return
		}
		if err != nil {
			t.Fatalf("not just a loss: %v", err)
		}
	}
	t.Fatalf("writes that nothing had synced survived %d power cuts: they are none", cuts)
}
