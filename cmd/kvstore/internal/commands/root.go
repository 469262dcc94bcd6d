package commands

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kvstore/cmd/kvstore/internal/version"
)

// dirEnv is the environment variable that replaces --dir.
const dirEnv = "KVSTORE_DIR"

// constructors returns a constructor for each subcommand.
func constructors() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{
		newGet,
		newSet,
		newDelete,
		newScan,
		newTTL,
		newExpire,
		newPersist,
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
		Long: `kvstore reads and writes the data directory of a kvstore from the shell.

The flag --dir or the environment variable ` + dirEnv + ` names the directory. One
process at a time can open it for writing. Commands that only read open it read-only
and write nothing. Several of them can run at the same time, but none beside a writer.
With --wait, a command that opens or makes a store waits until it can.

The standard output has results and nothing else. Errors go to the standard error.
Progress and color go there too, if it is a terminal; the command respects NO_COLOR
and TERM=dumb.

Exit codes:
    0  done
    1  not found: a key is absent
    2  usage: arguments or input are invalid
    3  corrupt: the data is damaged, or a later version of kvstore wrote it
    4  locked: another process has the directory open; the message has the pid of a writer
    5  I/O: any other failure
  130  interrupted by SIGINT, SIGTERM or SIGHUP; nothing is left half done. A command that
       has begun nothing, or only reads, ends by the signal itself (128 and its number)
  141  the reader of the output has gone`,
		Example: `  export ` + dirEnv + `=data
  kvstore set greeting hello
  kvstore get greeting
  kvstore dump | gzip > data.ndjson.gz`,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       version.Build().Text(),
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
	}
	root.PersistentFlags().StringVarP(&a.dir, "dir", "d", "", "data `directory` (default $"+dirEnv+")")
	root.PersistentFlags().Var(&a.wait, "wait",
		"while another process has the directory open, wait for this `duration`, such as 10s")
	root.SetVersionTemplate("kvstore {{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	for _, newCommand := range constructors() {
		root.AddCommand(newCommand(a))
	}
	root.SetHelpCommand(newHelp())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	rejectUnknown(root)
	a.trackStart(root)
	return root
}

// newHelp returns the command help. Unlike cobra's own, it is an error if there
// is no such command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = unknownCommand(about, rest)
			}
			if err != nil {
				return usageError{err}
			}
			about.InitDefaultHelpFlag() // so that the flag is shown
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// rejectUnknown makes an unknown subcommand an error, for commands that have
// subcommands and do nothing themselves. cobra prints help.
func rejectUnknown(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.HasSubCommands() && !sub.Runnable() {
			sub.Args = unknownCommand
			sub.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
		rejectUnknown(sub)
	}
}

// trackStart sets a.started when the code of a command begins. An error that
// cobra reports before is a usage error.
func (a *app) trackStart(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		a.trackStart(sub)
	}
}

// unknownCommand rejects arguments of the root, which are no command's name.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	message := fmt.Sprintf("there is no command %q", strings.Join(append(commandPath(cmd), args[0]), " "))
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		message += ": did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(message)
}

// commandPath returns the names of a command and those above it, without the
// root.
func commandPath(cmd *cobra.Command) []string { return strings.Fields(cmd.CommandPath())[1:] }

// argCount requires least to most arguments; most -1 is no limit. Its error
// quotes the arguments that the command's Use names.
func argCount(least, most int) cobra.PositionalArgs {
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

// dataDir returns the data directory that --dir or the environment names.
func (a *app) dataDir() (string, error) {
	if a.dir != "" {
		return a.dir, nil
	}
	if dir := os.Getenv(dirEnv); dir != "" {
		return dir, nil
	}
	return "", usageError{errors.New("which data directory? Name it with --dir or " + dirEnv)}
}
