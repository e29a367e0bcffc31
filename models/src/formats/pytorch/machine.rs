//! The machine that reads a pickle: a stack, a memo, and objects that nothing but these opcodes can make.

use super::globals::{self, Global};
use super::opcodes as op;
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::Dtype;
use std::collections::HashMap;
use std::rc::Rc;

/// A value on the stack; containers stand among the [`Objects`], so that they can be shared and nothing is nested.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(Rc<str>),
    Global(Global),
    Object(usize),
}

/// What a [`Value::Object`] refers to.
#[derive(Debug)]
pub(super) enum Object {
    Tuple(Vec<Value>),
    List,
    Dict(Vec<(Value, Value)>),
    Storage(Box<Storage>),
    Tensor(Box<TensorView>),
}

/// A member of the archive with the bytes of values.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    pub(super) key: Rc<str>,
    pub(super) count: usize,
}

/// A tensor's place in its storage, not checked yet.
#[derive(Debug)]
pub(super) struct TensorView {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<isize>,
}

/// Every object of a pickle.
#[derive(Debug, Default)]
pub(super) struct Objects(Vec<Object>);

impl Objects {
    pub(super) fn add(&mut self, object: Object, budget: &mut Budget) -> Result<Value> {
        budget.take(size_of::<Object>() as u64, "objects")?;
        self.0.push(object);
        Ok(Value::Object(self.0.len() - 1))
    }

    pub(super) fn get(&self, value: &Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.0.get(*index),
            _ => None,
        }
    }

    fn get_mut(&mut self, value: &Value) -> Option<&mut Object> {
        match value {
            Value::Object(index) => self.0.get_mut(*index),
            _ => None,
        }
    }

    pub(super) fn tuple(&self, value: &Value) -> Option<&[Value]> {
        match self.get(value) {
            Some(Object::Tuple(values)) => Some(values),
            _ => None,
        }
    }

    /// What to call `value` in a message.
    pub(super) fn describe(&self, value: &Value) -> String {
        match (value, self.get(value)) {
            (Value::None, _) => "None".to_owned(),
            (Value::Bool, _) => "a boolean".to_owned(),
            (Value::Int(number), _) => number.to_string(),
            (Value::Float, _) => "a float".to_owned(),
            (Value::Text(text), _) => format!("{text:?}"),
            (Value::Global(global), _) => format!("{global:?}"),
            (_, Some(Object::Tuple(values))) => format!("a tuple of {}", values.len()),
            (_, Some(Object::List)) => "a list".to_owned(),
            (_, Some(Object::Dict(entries))) => format!("a dictionary of {}", entries.len()),
            (_, Some(Object::Storage(_))) => "a storage".to_owned(),
            (_, Some(Object::Tensor(_))) => "a tensor".to_owned(),
            (Value::Object(_), None) => "nothing".to_owned(),
        }
    }
}

/// Runs `pickle`; its objects, and the value that it stops with.
pub(super) fn run(pickle: &[u8], budget: &mut Budget) -> Result<(Objects, Value)> {
    let mut machine = Machine {
        rest: pickle,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
        budget,
    };
    loop {
        let at = pickle.len() - machine.rest.len();
        let [opcode] = machine.bytes()?;
        if opcode == op::STOP {
            let value = machine.pop()?;
            return Ok((machine.objects, value));
        }
        machine.step(opcode).map_err(|error| error.within(format_args!("byte {at}")))?;
    }
}

/// More arguments than any of the [`Global`]s takes.
const MAX_ARGUMENTS: usize = 8;

struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack where there is a mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Objects,
    budget: &'a mut Budget,
}

impl Machine<'_> {
    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::PROTO => self.protocol(),
            op::FRAME => self.bytes::<8>().map(|_| ()),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::NONE => self.push(Value::None),
            op::NEWTRUE | op::NEWFALSE => self.push(Value::Bool),
            op::BINFLOAT => {
                self.bytes::<8>()?;
                self.push(Value::Float)
            }
            op::BININT | op::BININT1 | op::BININT2 | op::LONG1 => self.integer(opcode),
            op::BINUNICODE | op::SHORT_BINUNICODE => self.text(opcode),
            op::EMPTY_TUPLE => self.add(Object::Tuple(Vec::new())),
            op::EMPTY_LIST => self.add(Object::List),
            op::EMPTY_DICT => self.add(Object::Dict(Vec::new())),
            op::TUPLE => {
                let values = self.pop_to_mark()?;
                self.add(Object::Tuple(values))
            }
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => {
                let values = self.pop_many(usize::from(opcode - op::TUPLE1) + 1)?;
                self.add(Object::Tuple(values))
            }
            op::APPEND | op::APPENDS => self.append(opcode),
            op::SETITEM | op::SETITEMS => self.set_items(opcode),
            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE | op::BINGET | op::LONG_BINGET => self.use_memo(opcode),
            op::GLOBAL | op::STACK_GLOBAL => self.global(opcode),
            op::REDUCE => self.reduce(),
            op::BUILD => self.build(),
            op::BINPERSID => {
                let id = self.pop()?;
                let storage = globals::storage(&id, &self.objects)?;
                self.add(Object::Storage(Box::new(storage)))
            }
            _ => Err(Error::unsupported("", format_args!("opcode {opcode:#04x} {}", op::name(opcode)))),
        }
    }

    fn take(&mut self, len: usize) -> Result<&[u8]> {
        let short = || Error::malformed("", format_args!("{len} more bytes"), "the end");
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.stack.push(value);
        Ok(())
    }

    fn add(&mut self, object: Object) -> Result<()> {
        let value = self.objects.add(object, self.budget)?;
        self.push(value)
    }

    /// The top, unless a mark stands on it.
    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or_else(|| Error::malformed("stack", "a value", "none"))
    }

    /// The values at the top, in the order in which they were pushed.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>> {
        let mut values = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        values.reverse();
        Ok(values)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        let mark = mark.ok_or_else(|| Error::malformed("stack", "a mark", "none"))?;
        Ok(self.stack.split_off(mark))
    }

    fn protocol(&mut self) -> Result<()> {
        match self.bytes()? {
            [2..=5] => Ok(()),
            [other] => Err(Error::unsupported("", format_args!("pickle protocol {other}"))),
        }
    }

    fn integer(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            op::BININT => i32::from_le_bytes(self.bytes()?).into(),
            op::BININT1 => self.bytes::<1>()?[0].into(),
            op::BININT2 => u16::from_le_bytes(self.bytes()?).into(),
            _ => {
                let [len] = self.bytes()?;
                let digits = self.take(len.into())?;
                if digits.len() > 8 {
                    return Err(Error::unsupported("", format_args!("an integer of {len} bytes")));
                }
                let sign = if digits.last().is_some_and(|&top| top >= 0x80) { 0xff } else { 0 };
                let mut bytes = [sign; 8];
                bytes[..digits.len()].copy_from_slice(digits);
                i64::from_le_bytes(bytes)
            }
        };
        self.push(Value::Int(value))
    }

    fn text(&mut self, opcode: u8) -> Result<()> {
        let len = match opcode {
            op::BINUNICODE => u32::from_le_bytes(self.bytes()?) as usize,
            _ => self.bytes::<1>()?[0].into(),
        };
        let text = str::from_utf8(self.take(len)?).map_err(|error| Error::malformed("string", "UTF-8", error))?.into();
        self.push(Value::Text(text))
    }

    fn append(&mut self, opcode: u8) -> Result<()> {
        if opcode == op::APPEND {
            self.pop()?;
        } else {
            self.pop_to_mark()?;
        }
        let list = self.pop()?;
        match self.objects.get(&list) {
            Some(Object::List) => self.push(list),
            _ => Err(Error::malformed("stack", "a list", self.objects.describe(&list))),
        }
    }

    fn set_items(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == op::SETITEM { self.pop_many(2)? } else { self.pop_to_mark()? };
        let dict = self.pop()?;
        let wrong = Error::malformed("stack", "a dictionary and pairs", self.objects.describe(&dict));
        match self.objects.get_mut(&dict) {
            Some(Object::Dict(entries)) if items.len() % 2 == 0 => {
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    entries.push((key, value));
                }
                self.push(dict)
            }
            _ => Err(wrong),
        }
    }

    fn use_memo(&mut self, opcode: u8) -> Result<()> {
        let index = match opcode {
            op::BINPUT | op::BINGET => self.bytes::<1>()?[0].into(),
            op::LONG_BINPUT | op::LONG_BINGET => u32::from_le_bytes(self.bytes()?),
            _ => self.memo.len() as u32,
        };
        if [op::BINGET, op::LONG_BINGET].contains(&opcode) {
            let value = self.memo.get(&index).cloned();
            return self.push(value.ok_or_else(|| Error::malformed("memo", format_args!("entry {index}"), "none"))?);
        }
        let top = self.pop()?;
        self.memo.insert(index, top.clone());
        self.push(top)
    }

    fn global(&mut self, opcode: u8) -> Result<()> {
        let global = if opcode == op::GLOBAL {
            let (module, name) = (self.line()?, self.line()?);
            Global::named(&module, &name)?
        } else {
            match &self.pop_many(2)?[..] {
                [Value::Text(module), Value::Text(name)] => Global::named(module, name)?,
                _ => return Err(Error::malformed("stack", "the name of a global", "other values")),
            }
        };
        self.push(Value::Global(global))
    }

    fn line(&mut self) -> Result<String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| Error::malformed("global", "a line", "the end"))?;
        let line = String::from_utf8_lossy(&self.take(end + 1)?[..end]).into_owned();
        Ok(line)
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Global(global), Some(arguments)) = (&function, self.objects.tuple(&arguments)) else {
            return Err(Error::malformed("stack", "a function and a tuple", self.objects.describe(&function)));
        };
        // A tuple can be used many times, so that a long one must not be copied each time.
        let arguments = arguments[..arguments.len().min(MAX_ARGUMENTS)].to_vec();
        let value = global.call(&arguments, &mut self.objects, self.budget)?;
        self.push(value)
    }

    /// The one state that may be set is `_metadata` of a state_dict: versions of modules, of no effect on tensors.
    fn build(&mut self) -> Result<()> {
        let (state, target) = (self.pop()?, self.pop()?);
        let metadata = |(key, _): &(Value, Value)| matches!(key, Value::Text(key) if &**key == "_metadata");
        match (self.objects.get(&target), self.objects.get(&state)) {
            (Some(Object::Dict(_)), Some(Object::Dict(entries))) if entries.iter().all(metadata) => self.push(target),
            _ => Err(Error::unsupported("", format_args!("setting the state of {}", self.objects.describe(&target)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopped(pickle: &[u8]) -> Result<String> {
        run(pickle, &mut Budget::of_file(pickle.len())).map(|(objects, value)| objects.describe(&value))
    }

    #[test]
    fn values_are_read() {
        for (pickle, expected) in [
            (&b"\x80\x02K\x07."[..], "7"),
            (b"\x80\x02M\x01\x02.", "513"),
            (b"\x80\x02J\xfe\xff\xff\xff.", "-2"),
            (b"\x8a\x00.", "0"),
            (b"\x8a\x01\x80.", "-128"),
            (b"\x8a\x05\xff\xff\xff\xff\x00.", "4294967295"),
            (b"X\x02\x00\x00\x00ab.", "\"ab\""),
            (b"\x8c\x01\xc3.", "string: expected UTF-8"),
            (b"(K\x01K\x02t.", "a tuple of 2"),
            (b"K\x01K\x02K\x03\x87.", "a tuple of 3"),
            (b"}K\x01Ns.", "a dictionary of 1"),
            (b"}(K\x01NK\x02Nu.", "a dictionary of 2"),
            (b"](K\x01e.", "a list"),
            (b"K\x05q\x09Nh\x09.", "5"),
            (b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R\x94.", "a dictionary of 0"),
        ] {
            let found = stopped(pickle).unwrap_or_else(|error| error.to_string());
            assert!(found.contains(expected), "{pickle:?}: {found}");
        }
    }

    #[test]
    fn everything_else_is_refused_by_name() {
        for (pickle, message) in [
            (&b"cos\nsystem\n(X\x02\x00\x00\x00lstR."[..], "os.system"),
            (b"\x8c\x08builtins\x8c\x04eval\x93.", "builtins.eval"),
            (b"c__main__\nModel\n)\x81.", "__main__.Model"),
            (b"ctorch._utils\n_rebuild_qtensor\n.", "_rebuild_qtensor"),
            (b"ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
            (b"(icollections\nOrderedDict\n.", "INST"),
            (b"\x82\x01.", "EXT1"),
            (b"\xff.", "0xff that does not exist"),
            (b"\x80\x01.", "protocol 1"),
            (b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aNsb.", "setting the state"),
            (b"ccollections\nOrderedDict\nK\x01\x85R.", "arguments"),
            (b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", "9 bytes"),
            (b"X\x02\x00\x00\x00abQ.", "persistent id"),
        ] {
            let error = stopped(pickle).unwrap_err().to_string();
            assert!(error.contains(message), "{pickle:?}: {error}");
        }
    }

    #[test]
    fn broken_pickles_are_refused() {
        let cut = [&b""[..], b".", b"(.", b"K", b"X\xff\xff\xff\xffa", b"cos\n"];
        let empty = [&b"N(a."[..], b"t.", b"Na.", b"Nu.", b"}(Nu.", b"h\x00.", b"N)R.", b"\x93."];
        for pickle in cut.into_iter().chain(empty) {
            assert!(stopped(pickle).is_err(), "{pickle:?}");
        }
    }

    #[test]
    fn depth_and_number_of_objects_do_not_exhaust_the_stack() {
        // A tuple in a tuple, a million deep, is dropped without recursion.
        assert!(stopped(&[b")".to_vec(), vec![op::TUPLE1; 1_000_000], b".".to_vec()].concat()).is_ok());
    }
}
