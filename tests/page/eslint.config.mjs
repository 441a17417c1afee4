// The rules of the status page's script and style. `make lint` runs them.
import css from "@eslint/css";
import js from "@eslint/js";

// The browser's objects that the script uses; any other name is an error.
const BROWSER = [
  "AbortSignal", "XMLSerializer", "clearTimeout", "document", "fetch", "performance", "setTimeout",
];

// The ways to make markup of a text.
const MARKUP = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "srcdoc"];

const MAX_LENGTH = ["error", { code: 100, ignoreUrls: false }];

export default [
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
  },
  {
    files: ["**/*.js"],
    ...js.configs.recommended,
  },
  {
    files: ["**/*.js"],
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: "script",
      globals: Object.fromEntries(BROWSER.map((name) => [name, "readonly"])),
    },
    rules: {
      "complexity": ["error", 8],
      "consistent-return": "error",
      "curly": "error",
      "default-case": "error",
      "eqeqeq": "error",
      "func-style": ["error", "declaration"],
      "id-length": ["error", { exceptions: ["d", "x"] }],
      "max-depth": ["error", 3],
      "max-len": MAX_LENGTH,
      "max-lines-per-function": ["error", 40],
      "max-params": ["error", 4],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-nested-ternary": "error",
      "no-param-reassign": "error",
      "no-restricted-properties": [
        "error",
        ...MARKUP.map((property) => ({ property, message: "It makes markup of text." })),
        { object: "document", property: "write", message: "It makes markup of text." },
      ],
      "no-sequences": "error",
      "no-shadow": "error",
      "no-unused-expressions": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "one-var": ["error", "never"],
      "prefer-const": "error",
      "prefer-template": "error",
      "radix": "error",
      "strict": ["error", "global"],
    },
  },
  {
    files: ["**/*.css"],
    plugins: { css },
    language: "css/css",
    rules: {
      ...css.configs.recommended.rules,
      "css/use-baseline": ["error", { available: 2023 }],
    },
  },
];
