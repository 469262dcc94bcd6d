package commands

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// dirEnv names the data directory for commands that are not given --dir.
const dirEnv = "KVSTORE_DIR"

// commands makes all of them, in the order of the help.
func commands() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{
		newGet,
		newSet,
		newDelete,
		newScan,
		newCount,
		newLoad,
		newDump,
		newStats,
		newSnapshot,
		newBackup,
		newRestore,
		newLog,
		newVerify,
		newSalvage,
		newBench,
		newVersion,
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "kvstore COMMAND",
		Short: "Work with a kvstore data directory",
		Long: `kvstore works with the data directory of a kvstore from the shell.

The directory is named by --dir or by the environment variable ` + dirEnv + `. One
process at a time has it open for writing; commands that only read open it read-only,
write nothing, and may run beside each other, but not beside a writer.

Results go to the standard output, and nothing else does. Errors, progress and colour
go to the standard error, the latter two only if that is a terminal; NO_COLOR and
TERM=dumb are respected.

Exit codes:
    0  done
    1  not found: a key is absent
    2  usage: arguments or input make no sense
    3  corrupt: the data is damaged, or a later version of kvstore wrote it
    4  locked: another process has the directory open; its pid is named
    5  I/O: everything else that can fail
  130  interrupted, after having cleaned up`,
		Example: `  export ` + dirEnv + `=data
  kvstore set greeting hello
  kvstore get greeting
  kvstore dump | gzip > data.ndjson.gz`,
		Args:          noCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().StringVarP(&a.dir, "dir", "d", "", "data `directory` (default $"+dirEnv+")")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	for _, newCommand := range commands() {
		root.AddCommand(newCommand(a))
	}
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	a.note(root)
	return root
}

// note has a know when a command's own code begins. What cobra complains of before that is the usage.
func (a *app) note(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.running = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.note(sub)
	}
}

// noCommand is what the root makes of arguments: none of them was the name of a command.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("there is no command %q", args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(message)
}

// takes wants the arguments that the command's Use names: from least to most of them, most -1 being any number.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		wanted := "no arguments"
		if _, names, ok := strings.Cut(cmd.Use, " "); ok {
			wanted = names
		}
		return fmt.Errorf("%s takes %s; arguments given: %d", cmd.Name(), wanted, len(args))
	}
}

// dataDir returns the directory to work with.
func (a *app) dataDir() (string, error) {
	if a.dir != "" {
		return a.dir, nil
	}
	if dir := os.Getenv(dirEnv); dir != "" {
		return dir, nil
	}
	return "", usageError{errors.New("which data directory? Name it with --dir or " + dirEnv)}
}
