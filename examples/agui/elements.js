// Parts of pages: elements with what is in them, and a field for each member of a JSON schema.

export function element(tag, properties, inner = []) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...[inner].flat());
  return made;
}

export const fields = (schema) => Object.entries(schema?.properties ?? { answer: { type: "string" } });

export function field(key, schema) {
  const choices = schema.enum ?? schema.oneOf?.map((one) => one.const);
  let input;
  if (choices) {
    input = element("select", { name: key }, choices.map((one) => element("option", { value: one }, String(one))));
  } else {
    const type = { boolean: "checkbox", number: "number", integer: "number" }[schema.type] ?? "text";
    input = element("input", { name: key, type });
  }
  if (schema.default !== undefined) input[input.type === "checkbox" ? "checked" : "value"] = schema.default;
  return {
    element: element("label", {}, [`${schema.title ?? schema.description ?? key} `, input]),
    // Absent where nothing was said.
    value: () => {
      if (input.type === "checkbox") return input.checked;
      if (input.value === "") return undefined;
      return input.type === "number" ? Number(input.value) : input.value;
    },
  };
}
