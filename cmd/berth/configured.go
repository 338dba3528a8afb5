package main

import (
	"cmp"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/config"
	"berth/internal/registry2"
)

// addConfigFlags gives cmd the flag --config and those of config.Flags that are
// named, or all of them. The returned function reads the configuration from
// everywhere it can come from, once the command line is parsed. In a container
// that is what its registry was started with.
func addConfigFlags(cmd *cobra.Command, names ...string) func() (*config.Loaded, error) {
	file := cmd.Flags().String("config", "", "read this configuration `file`")
	for _, f := range config.Flags() {
		if len(names) > 0 && !slices.Contains(names, f.Name) {
			continue
		}
		if f.List {
			cmd.Flags().StringArray(f.Name, nil, f.Usage)
		} else {
			cmd.Flags().String(f.Name, "", f.Usage)
		}
	}
	return func() (*config.Loaded, error) {
		return loadConfig(cmp.Or(*file, containerFile()), config.ParseFlags(givenFlags(cmd.Flags())))
	}
}

// loadConfig reads the configuration: defaults, file, REGISTRY_* and BERTH_*
// variables, flags.
func loadConfig(file string, flags config.Overlay) (*config.Loaded, error) {
	return loadAs(registry2.Berth, file, flags)
}

// loadAs is loadConfig under the name that the program was called by.
func loadAs(as registry2.Mode, file string, flags config.Overlay) (*config.Loaded, error) {
	return config.Load(config.Sources{
		Base:      registry2.Defaults(as),
		File:      file,
		Registry2: registry2.Reader(os.Environ(), as),
		Environ:   os.Environ(),
		Flags:     flags,
	})
}

// givenFlags returns the values of those flags that stood on the command line
// and belong to the configuration.
func givenFlags(flags *pflag.FlagSet) map[string][]string {
	given := make(map[string][]string)
	flags.Visit(func(f *pflag.Flag) {
		if !slices.ContainsFunc(config.Flags(), func(c config.Flag) bool { return c.Name == f.Name }) {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[f.Name] = list.GetSlice()
			return
		}
		given[f.Name] = []string{f.Value.String()}
	})
	return given
}
