package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

const pageModule = "shared/web/weboffice.js"

// The syntax of the browsers that shared/web/README.md names; what they lack besides syntax the
// module does without.
func browsers() []api.Engine {
	return []api.Engine{
		{Name: api.EngineChrome, Version: "91"}, {Name: api.EngineFirefox, Version: "91"},
		{Name: api.EngineSafari, Version: "15"},
	}
}

// bundlePage makes the one file that pages load from the modules in shared/web/src. The same
// sources give the same bytes.
func bundlePage(root string) ([]byte, error) {
	manifest, err := os.ReadFile(filepath.Join(root, "shared/web/package.json"))
	if err != nil {
		return nil, err
	}
	var about struct{ Name, Version string }
	if err := json.Unmarshal(manifest, &about); err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join(root, "shared/web/src/index.js")},
		Bundle:      true, Format: api.FormatESModule, Platform: api.PlatformBrowser,
		Engines: browsers(), Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone,
		MinifyWhitespace: true, MinifySyntax: true, MinifyIdentifiers: true,
		Banner:  map[string]string{"js": "// " + about.Name + " " + about.Version},
		Plugins: []api.Plugin{{Name: "css as text", Setup: loadCSS}},
	})
	var problems []error
	for _, message := range append(result.Errors, result.Warnings...) {
		problems = append(problems, errors.New(message.Text))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return result.OutputFiles[0].Contents, nil
}

// loadCSS hands a style sheet to the module as a text without white space.
func loadCSS(build api.PluginBuild) {
	build.OnLoad(api.OnLoadOptions{Filter: `\.css$`},
		func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			text, err := os.ReadFile(args.Path)
			if err != nil {
				return api.OnLoadResult{}, err
			}
			small := api.Transform(string(text), api.TransformOptions{Loader: api.LoaderCSS,
				MinifyWhitespace: true, MinifySyntax: true, Engines: browsers()})
			if len(small.Errors) > 0 {
				return api.OnLoadResult{}, errors.New(small.Errors[0].Text)
			}
			contents := strings.TrimSpace(string(small.Code))
			return api.OnLoadResult{Contents: &contents, Loader: api.LoaderText}, nil
		})
}

// writePage renews the committed file.
func writePage(root string) (string, error) {
	bundle, err := bundlePage(root)
	if err != nil {
		return "", fmt.Errorf("%s: %w", pageModule, err)
	}
	if err := os.WriteFile(filepath.Join(root, pageModule), bundle, 0o644); err != nil {
		return "", err
	}
	return fmt.Sprintf("%-30s %.1f KB\n", pageModule, float64(len(bundle))/1e3), nil
}
