import js from "@eslint/js";
import boundaries from "eslint-plugin-boundaries";
import a11y from "eslint-plugin-jsx-a11y";
import hooks from "eslint-plugin-react-hooks";
import globals from "globals";
import ts from "typescript-eslint";

/** The arrows: lib and components know no feature, features know no other feature, app knows all. */
const arrows = [
  { from: "app", allow: ["app", "features", "components", "lib"] },
  { from: "features", allow: [["features", { name: "${from.name}" }], "components", "lib"] },
  { from: "components", allow: ["components", "lib"] },
  { from: "lib", allow: ["lib"] },
];

export default ts.config(
  { ignores: ["src/lib/api/schema.d.ts", "dist"] },
  js.configs.recommended,
  ...ts.configs.recommendedTypeChecked,
  a11y.flatConfigs.recommended,
  hooks.configs.flat.recommended,
  {
    files: ["src/**/*.{ts,tsx}", "vite.config.ts", "vitest.config.ts"],
    languageOptions: { globals: globals.browser, parserOptions: { projectService: true } },
    plugins: { boundaries },
    settings: {
      "boundaries/elements": [
        { type: "app", pattern: "src/app/*", mode: "file" },
        { type: "features", pattern: "src/features/*", capture: ["name"] },
        { type: "components", pattern: "src/components/*", mode: "file" },
        { type: "lib", pattern: "src/lib/**", mode: "file" },
      ],
    },
    rules: {
      "boundaries/element-types": ["error", { default: "disallow", rules: arrows }],
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { attributes: false } }],
      "max-lines": ["error", 400],
    },
  },
  { files: ["public/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["*.mjs"], languageOptions: { globals: globals.node } },
  { files: ["**/*.{js,mjs}"], ...ts.configs.disableTypeChecked },
);
