package tests

// This file cuts the power of a real kernel. The store lies on ext4 in a file behind a loop device; an ioctl makes the file system
// forget, from one moment to the next, all that was not synced, and mounting it again replays its journal. As in crash_test.go a
// child works on the store and prints what was acknowledged; what the parent has read before the ioctl must be there
// afterwards:
//
//  1. Every write acknowledged with SyncWrites, and every write that a successful Sync came after (P1).
//  2. For each goroutine the state after some number of its commits, and nothing else (P2).
//  3. What an Open has served, though nothing but the page cache had it when that Open began (P3).
//  4. A cut during Open or Close changes nothing but what a write under way may change (P6, P10).
//
// What comes after the reading and before the ioctl may be there or not: an fdatasync that races the ioctl may return nil.
//
// Such cuts do not catch a missing fsync of a directory: ext4's journal takes names along with the next fsync of any file.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"kvstore"
)

const (
	powerEnv        = "KVSTORE_POWER_CHILD" // holds the powerJob of a child process
	powerCutsEnv    = "KVSTORE_POWER_CUTS"
	powerSeedEnv    = "KVSTORE_POWER_SEED"
	powerControlEnv = "KVSTORE_POWER_CUT_CONTROL" // set to 1 it makes the children lie, and so the test fail

	// requireLayersEnv, set to 1, makes tests fail that cannot run here.
	requireLayersEnv = "KVSTORE_REQUIRE_LAYERS"

	powerDefaultCuts = 3
	powerDiskBytes   = 512 << 20 // sparse

	// powerCutsPerStore bounds what the log of one directory grows to, and has some cuts meet an Open that creates it.
	powerCutsPerStore = 16

	// powerSyncEvery is how many commits of a goroutine one Sync covers.
	powerSyncEvery = 16
)

// powerMountOptions are the ways in which ext4 orders data and journal.
var powerMountOptions = []string{"", "nodelalloc", "data=writeback", "data=journal"}

// ---- what this machine must have ----

// missingLayer skips a test that cannot run here, loudly.
func missingLayer(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv(requireLayersEnv) == "1" {
		t.Fatalf("NOT POSSIBLE HERE, and "+requireLayersEnv+"=1: "+format, args...)
	}
	t.Skipf("SKIPPED: "+format, args...)
}

// needRoot wants the rights to mount, and these programs.
func needRoot(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		missingLayer(t, "%s must mount file systems, which takes root", t.Name())
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missingLayer(t, "%s needs %s: %v", t.Name(), program, err)
		}
	}
}

// ---- processes for one test ----

// aloneEnv names the test that a process of its own is for.
const aloneEnv = "KVSTORE_ALONE"

// alone runs the calling test in a process of its own, for what holds for a whole process. It reports true in that process.
func alone(t *testing.T) bool {
	t.Helper()
	return os.Getenv(aloneEnv) == t.Name() || runAlone(t, 0)
}

// aloneWithMounts is alone with mounts that nobody else sees, and that go with the process, however that ends.
func aloneWithMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return true
	}
	needRoot(t)
	return runAlone(t, syscall.CLONE_NEWNS)
}

// runAlone runs the test and takes over how it ended. It returns false.
func runAlone(t *testing.T, unshare uintptr) bool {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // Pdeathsig looks at the thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1",
		fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unshare, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	switch output := string(out); {
	case unshare != 0 && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS)):
		missingLayer(t, "%s needs a mount namespace: %v", t.Name(), err)
	case err != nil:
		t.Fatalf("in a process of its own: %v\n%s", err, output)
	case strings.Contains(output, "--- SKIP: "+t.Name()):
		_, why, _ := strings.Cut(output, "SKIPPED: ")
		why, _, _ = strings.Cut(why, "\n")
		missingLayer(t, "%s", why)
	case !strings.Contains(output, "--- PASS: "+t.Name()):
		t.Fatalf("the process of its own has not run the test:\n%s", output)
	default:
		t.Logf("in a process of its own:\n%s", output)
	}
	return false
}

// runTool runs a program and returns the first thing that it printed.
func runTool(t *testing.T, name string, args ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), crashTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	output = strings.TrimSpace(string(out))
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, output)
	}
	return output, err
}

// ---- mounts ----

// mount is a file system on a directory until the end of the test.
type mount struct {
	dir     string
	source  string
	kind    string
	mounted bool
}

func newMount(t *testing.T, source, kind string, flags uintptr, options string) *mount {
	t.Helper()
	m := &mount{dir: t.TempDir(), source: source, kind: kind}
	t.Cleanup(func() {
		if err := m.tryUnmount(t); err != nil {
			t.Errorf("%v; the mount is left to the kernel", err)
			_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
		}
	})
	switch err := syscall.Mount(source, m.dir, kind, flags, options); {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENOSYS):
		missingLayer(t, "mount of %s: %v", kind, err)
	case err != nil:
		t.Fatalf("mount %s on %s: %v", source, m.dir, err)
	}
	m.mounted = true
	return m
}

func (m *mount) again(t *testing.T, options string) {
	t.Helper()
	if err := syscall.Mount(m.source, m.dir, m.kind, 0, options); err != nil {
		t.Fatalf("mount %s on %s, options %q: %v", m.source, m.dir, options, err)
	}
	m.mounted = true
}

func (m *mount) change(t *testing.T, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount("", m.dir, "", syscall.MS_REMOUNT|flags, options); err != nil {
		t.Fatalf("remount %s: %v", m.dir, err)
	}
}

func (m *mount) unmount(t *testing.T) {
	t.Helper()
	if err := m.tryUnmount(t); err != nil {
		t.Fatal(err)
	}
}

// tryUnmount unmounts it. Others may look into a new mount and keep it busy for a moment.
func (m *mount) tryUnmount(t *testing.T) error {
	t.Helper()
	if !m.mounted {
		return nil
	}
	err := syscall.Unmount(m.dir, 0)
	for range 100 {
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		_, err = runTool(t, "umount", m.dir) // also passes some time
		if err != nil {
			err = syscall.Unmount(m.dir, 0)
		}
	}
	if err != nil {
		return fmt.Errorf("unmount %s: %w", m.dir, err)
	}
	m.mounted = false
	return nil
}

func newTmpfs(t *testing.T, options string) *mount {
	t.Helper()
	needRoot(t)
	return newMount(t, "tmpfs", "tmpfs", 0, options)
}

// newDisk makes an ext4 file system in a file and mounts it.
func newDisk(t *testing.T, image string, size int64, options string) *mount {
	t.Helper()
	needRoot(t, "mkfs.ext4", "losetup", "umount")
	file, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = errors.Join(file.Truncate(size), file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runTool(t, "mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-N", "512", "-J", "size=4",
		"-E", "nodiscard,lazy_itable_init=0", image); err != nil {
		t.Fatal(err)
	}
	device, err := runTool(t, "losetup", "--find", "--show", image)
	if err != nil {
		missingLayer(t, "no loop device: %v", err)
	}
	// Open here and detached there, the device is free when this process ends, however that does.
	open, err := os.Open(device)
	if err == nil {
		_, err = runTool(t, "losetup", "--detach", device)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Close() })
	return newMount(t, device, "ext4", 0, options)
}

// ioctl passes a pointer to a system call on an open file.
func ioctl(file *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), request, uintptr(argument)); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// cutPower makes the file system forget what is not on the disk: FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH. Until it is
// unmounted everything there fails.
func (m *mount) cutPower(t *testing.T) {
	t.Helper()
	const fsIocShutdown, noLogFlush = 0x8004587d, 2
	root, err := os.Open(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	flags := uint32(noLogFlush)
	err = errors.Join(ioctl(root, fsIocShutdown, unsafe.Pointer(&flags)), root.Close())
	if err != nil {
		t.Fatalf("cut the power: %v", err)
	}
}

// ---- the child ----

// powerJob is what a child is told.
type powerJob struct {
	Dir          string
	SyncWrites   bool
	SyncInterval time.Duration
	SyncEvery    int  // if not 0, a write is reported when the goroutine's next Sync has returned, after so many commits
	Write        bool // from all goroutines until the end; otherwise it waits for that
	CloseAfter   int  // so many reports, if not 0, it closes the store while the goroutines go on
}

// A child is one before TestMain, which knows nothing of jobs that only Linux has.
func init() {
	if runPowerCutChild() {
		os.Exit(0)
	}
}

// runPowerCutChild does the work of a child, if this process is one, and tells whether it was.
func runPowerCutChild() bool {
	text := os.Getenv(powerEnv)
	if text == "" {
		return false
	}
	var job powerJob
	err := json.Unmarshal([]byte(text), &job)
	if err == nil {
		err = job.run()
	}
	crashExit(err)
	return true
}

// run prints "opening"; "has GOROUTINE COMMIT" for what it found; "open"; "ack GOROUTINE COMMIT"; around Close "closing" and "closed". When
// the disk fails it prints "failed ERROR" and waits for its end; anything else that goes wrong goes to stderr.
func (job powerJob) run() error {
	fmt.Println("opening")
	store, err := kvstore.OpenWithConfig(kvstore.Config{
		DataDir: job.Dir, SyncWrites: job.SyncWrites, SyncInterval: job.SyncInterval,
	})
	switch {
	case errors.Is(err, kvstore.ErrCorrupt), errors.Is(err, kvstore.ErrFailed), errors.Is(err, kvstore.ErrLocked):
		return err
	case err != nil:
		fmt.Println("failed", err)
	default:
		if err := job.use(store); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin) // ends with the parent, if that does not kill us
	return err
}

func (job powerJob) use(store *kvstore.Store) error {
	sequences, err := crashSequences(store)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for writer, n := range sequences {
		fmt.Fprintf(&lines, "has %d %d\n", writer, n)
	}
	fmt.Println(lines.String() + "open")
	if !job.Write {
		return nil
	}
	return job.write(store, sequences)
}

// write lets the goroutines write until it is time to close the store, or the disk fails.
func (job powerJob) write(store *kvstore.Store, sequences [crashWriters]int) error {
	printer := crashPrinter{acks: make(chan crashAck, crashWriters), closeAfter: job.CloseAfter, enough: make(chan struct{})}
	ends := make(chan error, crashWriters)
	var writers, printing sync.WaitGroup
	printing.Go(func() { crashExit(printer.run()) })
	for writer, n := range sequences {
		writers.Go(func() {
			if job.SyncEvery > 0 {
				ends <- powerWriteOn(store, writer, n, job.SyncEvery, printer.acks)
			} else {
				ends <- crashWriteOn(store, writer, n, printer.acks)
			}
		})
	}
	var failure error
	select {
	case <-printer.enough:
	case failure = <-ends:
		if _, err := crashSequences(store); err != nil {
			return fmt.Errorf("reads of the failed store: %w", err)
		}
	}
	closeErr := store.Close()
	writers.Wait()
	close(printer.acks)
	printing.Wait()
	close(ends)
	for err := range ends {
		if failure == nil {
			failure = err
		}
		if err != nil && !errors.Is(err, kvstore.ErrFailed) {
			return err
		}
	}
	switch {
	case failure != nil && (!errors.Is(failure, kvstore.ErrFailed) || !errors.Is(closeErr, kvstore.ErrFailed)):
		return fmt.Errorf("writes end with %w, and Close with %w", failure, closeErr)
	case closeErr != nil:
		fmt.Println("failed", closeErr)
	default:
		fmt.Println("closed")
	}
	return nil
}

// powerWriteOn commits what follows the n-th commit, and reports what a Sync has made durable.
func powerWriteOn(store *kvstore.Store, writer, n, every int, acks chan<- crashAck) error {
	for {
		n++
		err := crashOpOf(writer, n).start(store)()
		if err == nil && (n+writer)%every == 0 {
			if err = store.Sync(); err == nil {
				acks <- crashAck{writer, n}
			}
		}
		if errors.Is(err, kvstore.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// ---- the parent ----

// powerSeen is what a child has printed so far.
type powerSeen struct {
	acked  [crashWriters]int
	acks   int
	last   string // line that is none of the many
	failed string
	wrong  string
}

// powerChild is a child, and the goroutine that reads what it prints.
type powerChild struct {
	*crashProcess
	job     powerJob
	slack   int // commits that may be there beyond those known when it began
	mu      sync.Mutex
	seen    powerSeen
	changed chan struct{} // gets a token whenever seen has changed
	done    chan struct{} // closed when nothing more comes
}

func (p *powerTest) startChild(t *testing.T, job powerJob) *powerChild {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), crashTimeout)
	c := &powerChild{
		crashProcess: &crashProcess{cmd: exec.CommandContext(ctx, program, "-test.run=^$"), cancel: cancel},
		job:          job, slack: p.unread, seen: powerSeen{acked: p.acked}, changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.cmd.Env = append(os.Environ(), powerEnv+"="+string(text))
	c.cmd.Stderr = &c.stderr
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		_, err = c.cmd.StdinPipe() // open until Wait, for the child to notice when we are gone
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	c.stdout = bufio.NewReader(stdout)
	go c.watch()
	t.Cleanup(func() { _ = c.end() })
	return c
}

func (c *powerChild) watch() {
	defer close(c.done)
	for line, ok := c.line(); ok; line, ok = c.line() {
		c.mu.Lock()
		c.seen.take(line, c.slack)
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// take takes note of a line.
func (s *powerSeen) take(line string, slack int) {
	word, rest, _ := strings.Cut(line, " ")
	if word == "failed" {
		s.failed = rest
		return
	}
	if word != "has" && word != "ack" {
		s.last = line
		return
	}
	first, second, _ := strings.Cut(rest, " ")
	writer, err := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if err != nil || err2 != nil || writer < 0 || writer >= crashWriters {
		s.wrong = fmt.Sprintf("the child printed %q", line)
		return
	}
	switch known := s.acked[writer]; {
	case word == "has" && (n < known || n > known+slack):
		s.wrong = fmt.Sprintf("goroutine %d is at commit %d for the child; %d were there, %d more are possible", writer, n, known, slack)
	case word == "ack" && n <= known:
		s.wrong = fmt.Sprintf("goroutine %d began again with commit %d, %d was there already", writer, n, known)
	case word == "ack":
		s.acks++
	}
	s.acked[writer] = n
}

func (c *powerChild) now() powerSeen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// until waits for the child to have printed enough.
func (c *powerChild) until(t *testing.T, what string, enough func(powerSeen) bool) {
	t.Helper()
	for !enough(c.now()) {
		select {
		case <-c.changed:
		case <-c.done:
			if seen := c.now(); !enough(seen) {
				err := c.end()
				t.Fatalf("the child ended before %s, after %q and %q: %v, %s", what, seen.last, seen.failed, err, &c.stderr)
			}
		}
	}
}

// end kills the child and waits for everything that belongs to it.
func (c *powerChild) end() error {
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-c.done // before Wait, which closes the pipe
	return c.kill()
}

// powerTest is a disk, and what must be in the store on it.
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
	seed := rand.Uint64()
	if text := os.Getenv(powerSeedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", powerSeedEnv, err)
		}
	}
	t.Logf("%s=%d", powerSeedEnv, seed)
	p := &powerTest{
		crashTest: &crashTest{random: rand.New(rand.NewPCG(seed, 0))},
		disk:      newDisk(t, filepath.Join(t.TempDir(), "disk"), powerDiskBytes, ""),
		kinds:     map[string]int{},
	}
	p.nextStore(t)
	return p
}

// nextStore goes on with a directory that is not there yet.
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

// job is for a child that reports what is durable, or says so.
func (p *powerTest) job() powerJob {
	if p.control {
		return powerJob{Dir: p.dir, SyncInterval: time.Hour}
	}
	return powerJob{Dir: p.dir, SyncWrites: true}
}

// dawdle lets some time pass without a clock.
func (p *powerTest) dawdle(t *testing.T) {
	t.Helper()
	for range p.upTo(13) {
		if _, err := os.ReadDir(p.disk.dir); err != nil {
			t.Fatal(err)
		}
	}
}

// cut cuts the power under a child and verifies what is there when it is back.
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
	t.Logf("cut %d: %s at %q after %d acknowledgements, disk failure seen: %t, next mount %q", p.cuts, kind, before.last, before.acks,
		after.failed != "", options)
	return p.verify(t)
}

// powerLoss says that an acknowledged write is not there.
type powerLoss struct {
	writer, acked, got int
}

func (e powerLoss) Error() string {
	return fmt.Sprintf("goroutine %d is at commit %d, acknowledged were %d", e.writer, e.got, e.acked)
}

// verify opens the store read-only, which changes nothing, and compares. From now on it must hold just what it holds
// now.
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

// cutUnderLoad cuts the power after some number of reports.
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

// cutSync is for a store with SyncWrites false that relies on Sync, with a background fsync often or seldom.
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

// cutAfterOpen kills a child whose writes only the page cache has, lets the next one open the store, and cuts the power
// then: what that one has served must be there.
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

// ---- the tests ----

// P1, P2, P3, P6, P10 on a real kernel. One directory goes through many cuts: what one leaves is what the next child works on.
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
		p.cutSyncWrites, p.cutInOpen, p.cutInClose, p.cutSync, p.cutInOpen, p.cutSyncWrites, p.cutAfterOpen, p.cutSync, p.cutInClose,
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

// The test above can fail: it sees when writes are acknowledged that nothing has synced.
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
