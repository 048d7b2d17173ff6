package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

var update = flag.Bool("update", false, "write weboffice.js anew from the modules in src")

// TestModuleIsBundled holds weboffice.js to its sources. After a change of those,
// `go test ./shared/web -update` writes it anew; one that does not parse leaves it alone.
func TestModuleIsBundled(t *testing.T) {
	want := bundle(t)
	if *update {
		if err := os.WriteFile("weboffice.js", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("weboffice.js")
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%v: weboffice.js is not what src makes: go test ./shared/web -update", err)
	}
}

// The syntax of the browsers that README.md names; what they lack besides syntax the module does
// without.
var browsers = []api.Engine{
	{Name: api.EngineChrome, Version: "91"}, {Name: api.EngineFirefox, Version: "91"},
	{Name: api.EngineSafari, Version: "15"},
}

// bundle makes the one file that pages load. The same sources give the same bytes.
func bundle(t *testing.T) []byte {
	t.Helper()
	var about struct{ Name, Version string }
	manifest, err := os.ReadFile("package.json")
	if err = errors.Join(err, json.Unmarshal(manifest, &about)); err != nil {
		t.Fatal(err)
	}
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{"src/index.js"},
		Bundle:      true, Format: api.FormatESModule, Platform: api.PlatformBrowser,
		Engines: browsers, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone,
		MinifyWhitespace: true, MinifySyntax: true, MinifyIdentifiers: true,
		Banner:  map[string]string{"js": "// " + about.Name + " " + about.Version},
		Plugins: []api.Plugin{{Name: "css as text", Setup: loadCSS}},
	})
	found := append(result.Errors, result.Warnings...)
	for _, text := range api.FormatMessages(found, api.FormatMessagesOptions{}) {
		t.Fatal(text)
	}
	return result.OutputFiles[0].Contents
}

// loadCSS hands a style sheet to the module as a text without white space.
func loadCSS(build api.PluginBuild) {
	build.OnLoad(api.OnLoadOptions{Filter: `\.css$`},
		func(args api.OnLoadArgs) (api.OnLoadResult, error) {
			text, err := os.ReadFile(args.Path)
			small := api.Transform(string(text), api.TransformOptions{Loader: api.LoaderCSS,
				MinifyWhitespace: true, MinifySyntax: true, Engines: browsers})
			contents := strings.TrimSpace(string(small.Code))
			return api.OnLoadResult{Contents: &contents, Loader: api.LoaderText,
				Errors: small.Errors, Warnings: small.Warnings}, err
		})
}
