// Command bench measures kvstore beside its peers, and beside floors: programs
// that do only the minimum. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(runChild(text))
	}
	var c config
	c.register(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is the flags.
type config struct {
	rounds    int
	time      time.Duration
	scale     float64
	seed      uint64
	only      string
	engines   string
	dir       string
	out, json string
	merge     string
	profile   string
	tricks    string
}

func (c *config) register(f *flag.FlagSet) {
	f.IntVar(&c.rounds, "rounds", 5, "number of times that each measurement runs")
	f.DurationVar(&c.time, "time", 2*time.Second, "duration of each measurement")
	f.Float64Var(&c.scale, "scale", 1, "multiplies the numbers of keys, for smoke runs")
	f.Uint64Var(&c.seed, "seed", 1, "seed of keys, values and choices")
	f.StringVar(&c.only, "only", "", "comma-separated `workloads` (default all): "+strings.Join(workloadNames(), ","))
	f.StringVar(&c.engines, "engines", "",
		"comma-separated `engines` (default all); kvstore and the floors always run: "+strings.Join(engineNames(), ","))
	f.StringVar(&c.dir, "dir", "",
		"`directory` on the disk to measure (default the system's directory for temporary files)")
	f.StringVar(&c.out, "out", "", "write BENCHMARKS.md and its plots into this `directory`")
	f.StringVar(&c.json, "json", "", "write all samples to this `file`")
	f.StringVar(&c.merge, "merge", "",
		"report also the workloads in this `file` of an earlier -json that are not measured now")
	f.StringVar(&c.tricks, "tricks", "", "measure only what these comma-separated `tricks` of kvstore are worth: "+
		tricksEach+" (each alone, and then all), "+tricksAll+" (all together), or "+strings.Join(trickNames(), ","))
	f.StringVar(&c.profile, "cpuprofile", "", "write a CPU profile to this `file`")
}

func workloadNames() (names []string) {
	for _, w := range allWorkloads() {
		names = append(names, w.id)
	}
	return names
}

func engineNames() (names []string) {
	for _, s := range allSpecs() {
		names = append(names, s.name)
	}
	return names
}

// run measures and reports. After an interrupt it reports the measurements made
// so far.
func (c *config) run(ctx context.Context, out, progress io.Writer) (err error) {
	if c.rounds < 1 || c.time <= 0 || c.scale <= 0 {
		return errors.New("-rounds, -time and -scale must be positive")
	}
	parent, err := filepath.Abs(cmp.Or(c.dir, os.TempDir()))
	if err != nil {
		return err
	}
	if err := refuseMemory(parent); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "kvstore-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	b := &bench{
		ctx: ctx, dir: dir, duration: c.time, rounds: c.rounds, scale: c.scale,
		data: newData(c.seed), progress: log.New(progress, "", log.Ltime),
		filled: make(map[string]string), streams: make(map[string]*stream),
	}
	if c.tricks != "" {
		return c.runTricks(b, out)
	}
	return c.runEngines(b, out)
}

// runEngines measures kvstore beside its peers and the floors.
func (c *config) runEngines(b *bench, out io.Writer) error {
	workloads, err := chooseWorkloads(allWorkloads(), c.only)
	if err != nil {
		return err
	}
	specs, missing, err := chooseSpecs(c.engines)
	if err != nil {
		return err
	}
	var earlier results
	if c.merge != "" {
		if earlier, err = readResults(c.merge); err != nil {
			return err
		}
	}
	stopProfile, err := profile(c.profile)
	if err != nil {
		return err
	}
	r := &results{Facts: b.facts(c.seed, specs, missing), specs: specs}
	for _, w := range workloads {
		if err = b.run(w, specs, r); err != nil {
			break
		}
	}
	err = errors.Join(err, stopProfile())
	failed := r.failed() // before earlier failures are merged
	return errors.Join(err, c.report(r, r.merge(earlier, workloads), out), failed)
}

// chooseWorkloads returns the workloads in the list, or all for "".
func chooseWorkloads(all []workload, list string) (chosen []workload, err error) {
	wanted := splitList(list)
	for _, name := range wanted {
		if !slices.Contains(workloadNames(), name) {
			return nil, fmt.Errorf("no workload is named %q", name)
		}
	}
	for _, w := range all {
		if len(wanted) == 0 || slices.Contains(wanted, w.id) {
			chosen = append(chosen, w)
		}
	}
	return chosen, nil
}

func (c *config) report(r *results, workloads []workload, out io.Writer) error {
	if c.json != "" {
		if err := r.write(c.json); err != nil {
			return err
		}
	}
	var figures map[string]string
	if c.out != "" {
		var err error
		if figures, err = r.plots(c.out); err != nil {
			return fmt.Errorf("plots: %w", err)
		}
	}
	text := r.report(workloads, figures)
	if c.out != "" {
		if err := os.WriteFile(filepath.Join(c.out, "BENCHMARKS.md"), []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, text)
	return err
}

// profile starts a CPU profile, unless its name is "".
func profile(name string) (stop func() error, err error) {
	if name == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
